"""What a run draws: average power as a function of utilisation, times the estimated time.

    joule  = static * t + joule_per_mac * macs + joule_per_byte * bytes
    power  = joule / t = static + what the multipliers and the memory add while they are busy

`static` is what the board draws while it launches kernels and waits for them. Average power varies
little between networks, so an error of the time carries through to the energy and little else
does; a network that only launches draws little more than `static`. All of it is log-normal; what
is measured of whole networks updates it (`gensynth.bench.estimate.boards.beliefs`): for these four
quantities that is a ridge regression of energy on time, MACs and bytes, towards the prior.
"""

import numpy as np

from gensynth.bench.estimate.boards.beliefs import Quantities
from gensynth.bench.estimate.boards.roofline import Timer

OWN_SPREAD = 0.08
"""Of one network's energy about the formula: what its numbers and layouts draw more or less."""


def joules(
    timer: Timer, precision: str, static_factor: float, power: Quantities, ms: np.ndarray
) -> np.ndarray:
    """Return joules of one run, one a draw.

    Args:
        timer: of the network.
        precision: of its arithmetic.
        static_factor: of the static power in this power mode.
        power: draws of `Roofline.power`.
        ms: of the run, as many draws.
    """
    found: np.ndarray = (
        power["static"] * static_factor * ms / 1e3
        + power[f"joule_per_mac {precision}"] * timer.macs.sum()
        + power["joule_per_byte"] * timer.bytes_moved.sum()
    )
    return found
