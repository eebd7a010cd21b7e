"""What --plan says: what can be reached, what is fixed, and how long it will take."""

from typing import TYPE_CHECKING

from gensynth.goals import metrics
from gensynth.render.figures import (
    columns,
    count,
    digits,
    duration,
    of_device,
    step_of_widths,
    wrapped,
)

if TYPE_CHECKING:
    from gensynth.runs.forecast import Forecast


def forecast(forecast: "Forecast", width: int = 80) -> str:
    """Return the forecast of a run as a few paragraphs."""
    head = f"{forecast.prototype} on {forecast.data}: "
    score = forecast.search_score
    if score is None:
        head += "not trained yet; its training comes first and is not in the times below"
    else:
        seen = ", seen by it in training" if forecast.seen_search else ""
        title = metrics.find(score.metric, forecast.prototype).title
        head += f"{title} {100 * score.value:.2f} % of {score.n:,} search images{seen}"
    costs = [["", "smallest", "required", "prototype"]]
    for name, (smallest, whole) in forecast.costs.items():
        limit, metric = forecast.limits.get(name), metrics.find(name, "costs")
        told = digits if metric.unit else lambda counted: count(int(counted))
        required = "-" if limit is None else f"<= {told(limit)}"
        title = f"{metric.title}, {metric.unit}" if metric.unit else metric.title
        costs.append([title, told(smallest), required, told(whole)])
    devices = []
    for key, (least, most) in forecast.figures.items():
        name, device = metrics.parts_of(key)
        metric = metrics.find(name, key)
        devices.append(f"{metric.title} on {device}")
        devices.append(f"  smallest   {of_device(least, metric.unit)}")
        devices.append(f"  prototype  {of_device(most, metric.unit)}")
    channels = sum(size for _, size in forecast.groups)
    groups = ", ".join(f"{name} {size}" for name, size in forecast.groups)
    blocks = ", ".join(forecast.blocks)
    freedom = [
        f"{len(forecast.groups)} groups of {channels:,} channels in all: {groups or 'none'}",
        step_of_widths(forecast.step),
        f"{len(forecast.blocks)} blocks that can go whole: {blocks or 'none'}",
        *_substitutes(forecast),
        f"frozen: {100 * forecast.frozen_macs_share:.1f} % of the prototype's MACs, in fixed parts",
    ]
    times = [
        ["initialise", "", duration(forecast.initialise_s)],
        ["cycles", f"{forecast.cycles} of", duration(forecast.cycle_s)],
        ["finalists", f"{forecast.finalists} of", duration(forecast.finalist_s)],
        ["in all", "", duration(forecast.total_s)],
    ]
    parts = [
        wrapped(head, width),
        wrapped("requirements: " + (", ".join(forecast.requirements) or "none"), width),
        "\n".join(columns(costs)),
        *(["\n".join(devices)] if devices else []),
        "\n".join(wrapped(line, width) for line in [*freedom, *_kept(forecast)]),
        "time forecast from a short measurement on this machine\n" + "\n".join(columns(times)),
    ]
    return "\n\n".join(parts)


def _kept(forecast: "Forecast") -> list[str]:
    if forecast.kept_views >= forecast.views:
        return []
    kept = f"{forecast.kept_views:,} of a finalist's {forecast.views:,} training views"
    return [f"the prototype's answers to {kept} fit in memory; the others every network asks anew"]


def _substitutes(forecast: "Forecast") -> list[str]:
    if not forecast.substitutes:
        return []
    each = [
        f"{name} for {number} {'place' if number == 1 else 'places'}"
        for name, number in forecast.substitutes
    ]
    return [f"substitutes: {', '.join(each)}"]
