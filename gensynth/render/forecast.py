"""The measured part of what --plan says: what the prototype scores, and how long it will take."""

from typing import TYPE_CHECKING

from gensynth.goals import metrics
from gensynth.render.figures import columns, duration, wrapped

if TYPE_CHECKING:
    from gensynth.runs.ahead.forecast import Forecast


def forecast(forecast: "Forecast", width: int = 80) -> str:
    """Return the forecast of a run as two paragraphs; the times in the last column add up."""
    score = forecast.search_score
    if score is None:
        head = (
            "the prototype is not trained yet; its training comes first and is not in the times "
            "below"
        )
    else:
        seen = ", seen by it in training" if forecast.seen_search else ""
        title = metrics.find(score.metric, "prototype").title
        head = (
            f"the prototype: {title} {100 * score.value:.2f} % of {score.n:,} search images{seen}"
        )
    times = [
        [part.name, f"{part.count:.3g} x {duration(part.each_s)}", duration(part.total_s)]
        for part in forecast.parts
        if part.count
    ]
    times.append(["in all", "", duration(forecast.total_s)])
    parts = [
        "\n".join(wrapped(line, width) for line in [head, *_kept(forecast)]),
        "time forecast from a short measurement on this machine\n" + "\n".join(columns(times)),
    ]
    return "\n\n".join(parts)


def _kept(forecast: "Forecast") -> list[str]:
    if forecast.kept_views >= forecast.views:
        return []
    kept = f"{forecast.kept_views:,} of a finalist's {forecast.views:,} training views"
    return [f"the prototype's answers to {kept} fit in memory; the others every network asks anew"]
