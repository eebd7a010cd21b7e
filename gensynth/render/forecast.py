"""What --plan says: what can be reached, what is fixed, and how long it will take."""

from typing import TYPE_CHECKING

from gensynth.render.figures import columns, count, duration, step_of_widths, wrapped

if TYPE_CHECKING:
    from gensynth.runs.forecast import Forecast


def forecast(forecast: "Forecast", width: int = 80) -> str:
    """Return the forecast of a run as a few paragraphs."""
    head = f"{forecast.prototype} on {forecast.data}: "
    if forecast.search_top1_pct is None:
        head += "not trained yet; its training comes first and is not in the times below"
    else:
        seen = ", seen by it in training" if forecast.seen_search else ""
        head += (
            f"top-1 {forecast.search_top1_pct:.2f} % of {forecast.search_n:,} search images{seen}"
        )
    costs = [["", "smallest", "required", "prototype"]]
    for label, name, reach in (
        ("MACs", "macs", forecast.macs),
        ("parameters", "params", forecast.params),
    ):
        limit = forecast.limits.get(name)
        required = "-" if limit is None else f"<= {count(limit)}"
        costs.append([label, count(reach[0]), required, count(reach[1])])
    channels = sum(size for _, size in forecast.groups)
    groups = ", ".join(f"{name} {size}" for name, size in forecast.groups)
    blocks = ", ".join(forecast.blocks)
    freedom = [
        f"{len(forecast.groups)} groups of {channels:,} channels in all: {groups or 'none'}",
        step_of_widths(forecast.step),
        f"{len(forecast.blocks)} blocks that can go whole: {blocks or 'none'}",
        *_operators(forecast),
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
        "\n".join(wrapped(line, width) for line in freedom),
        "time forecast from a short measurement on this machine\n" + "\n".join(columns(times)),
    ]
    return "\n\n".join(parts)


def _operators(forecast: "Forecast") -> list[str]:
    if not forecast.operators:
        return []
    each = [
        f"{word} for {number} {'place' if number == 1 else 'places'}"
        for word, number in forecast.operators
    ]
    return [f"operators: {', '.join(each)}"]
