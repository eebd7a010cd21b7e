"""The exact part of what --plan says: the data, what can be reached, and what is fixed."""

from typing import TYPE_CHECKING

from gensynth.goals import metrics
from gensynth.render.figures import columns, count, digits, of_device, step_of_widths, wrapped

if TYPE_CHECKING:
    from gensynth.runs.ahead.reach import Reach


def reach(found: "Reach", width: int = 80) -> str:
    """Return the reach of a run as a few paragraphs."""
    costs = [["", "smallest", "required", "prototype"]]
    for name, (smallest, whole) in found.costs.items():
        limit, metric = found.limits.get(name), metrics.find(name, "costs")
        told = digits if metric.unit else lambda counted: count(int(counted))
        required = "-" if limit is None else f"<= {told(limit)}"
        title = f"{metric.title}, {metric.unit}" if metric.unit else metric.title
        costs.append([title, told(smallest), required, told(whole)])
    devices = []
    for key, (least, most) in found.figures.items():
        name, device = metrics.parts_of(key)
        metric = metrics.find(name, key)
        devices.append(f"{metric.title} on {device}")
        devices.append(f"  smallest   {of_device(least, metric.unit)}")
        devices.append(f"  prototype  {of_device(most, metric.unit)}")
    devices += [wrapped(_all_in_fp16(device), width) for device in found.in_fp16]
    channels = sum(size for _, size in found.groups)
    groups = ", ".join(f"{name} {size}" for name, size in found.groups)
    blocks = ", ".join(found.blocks)
    freedom = [
        f"{len(found.groups)} groups of {channels:,} channels in all: {groups or 'none'}",
        step_of_widths(found.step),
        f"{len(found.blocks)} blocks that can go whole: {blocks or 'none'}",
        *_substitutes(found),
        f"frozen: {100 * found.frozen_macs_share:.1f} % of the prototype's MACs, in fixed parts",
        _rate(found),
        _memory(found),
    ]
    asked = [
        f"{found.prototype} on {found.data}",
        "requirements: " + (", ".join(found.requirements) or "none"),
        found.certificate,
    ]
    parts = [
        "\n".join(wrapped(line, width) for line in found.description),
        "\n".join(wrapped(line, width) for line in asked if line),
        "\n".join(columns(costs)),
        *(["\n".join(devices)] if devices else []),
        "\n".join(wrapped(line, width) for line in freedom),
    ]
    return "\n\n".join(parts)


def _all_in_fp16(device: str) -> str:
    return (
        f"{device} in FP16: until the end all layers of a network are taken in FP16; one that is "
        "handed over keeps those that its trained weights make overflow in FP32, and is measured so"
    )


def _rate(found: "Reach") -> str:
    search, finalists = found.peak_lr
    if search is None and finalists is None:
        return "learning rate: found before the warm-up, from 0.1 downward (peak_lr gives one)"
    said = [
        f"{'found' if rate is None else f'{rate:g}'} for {what}"
        for what, rate in (("cycles", search), ("finalists", finalists))
    ]
    return f"learning rate: {' and '.join(said)}"


def _memory(found: "Reach") -> str:
    kept, there = found.training_bytes / 2**30, found.memory_bytes / 2**30
    text = f"a training step keeps about {kept:.2g} GiB of activations"
    if found.training_parts == 1:
        return text
    return (
        f"{text}, and this machine has {there:.2g} GiB: its images go through a network in "
        f"{found.training_parts} parts, of which norms take their statistics; a smaller batch in "
        "[finalists] needs fewer"
    )


def _substitutes(found: "Reach") -> list[str]:
    if not found.substitutes:
        return []
    each = [
        f"{name} for {number} {'place' if number == 1 else 'places'}"
        for name, number in found.substitutes
    ]
    return [f"substitutes: {', '.join(each)}"]
