"""How far two networks' scores of the same images are apart, by a paired bootstrap over images.

An image that is hard for one is hard for the other, so a difference is known better than either
value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gensynth.goals.intervals import normal_quantile
from gensynth.goals.score import Resampled, Score


@dataclass(frozen=True)
class Difference:
    """How much higher one network scores than another on the same images.

    Attributes:
        points: of the values, in percent points.
        low, high: the two-sided 95 % interval, in points.
        others: the same of the metrics that are told beside the score's own, by name.
    """

    points: float
    low: float
    high: float
    others: Mapping[str, "Difference"] = field(default_factory=dict)


def difference(network: Score, prototype: Score) -> Difference | None:
    """Return how far two scores of one split are apart.

        d +- z sd(d_b) sqrt(n / (n - 1)),    d_b of one draw of images for both networks

    None where the scores are not of one metric and as many images, or what they are on single
    draws is not known.
    """
    if not isinstance(network, Resampled) or not isinstance(prototype, Resampled):
        return None
    alike = (network.metric, network.n) == (prototype.metric, prototype.n)
    count = len(network.resamples)
    if not alike or count == 0 or count != len(prototype.resamples):
        return None
    others = {
        name: _apart(
            value - prototype.others[name],
            network.other_resamples[name],
            prototype.other_resamples[name],
            network.n,
        )
        for name, value in network.others.items()
        if len(network.other_resamples.get(name, ())) == count
        and len(prototype.other_resamples.get(name, ())) == count
    }
    points = network.value - prototype.value
    own = _apart(points, network.resamples, prototype.resamples, network.n)
    return Difference(own.points, own.low, own.high, others)


def _apart(apart: float, first: Sequence[float], second: Sequence[float], n: int) -> Difference:
    """Return a difference of values with the interval that their draws give it."""
    widened = float(np.std(np.subtract(first, second)) * np.sqrt(n / max(1, n - 1)))
    reach = normal_quantile(0.95, sided=2) * widened
    return Difference(100 * apart, 100 * (apart - reach), 100 * (apart + reach))
