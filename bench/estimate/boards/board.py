"""The estimate of a network on a board that is not attached: figures, and what they rest on.

    plan of kernels  ->  draws of the roofline's quantities  ->  milliseconds  ->  joules
                                      ^
             what was measured of other networks there, if anything was

Quantiles of a few thousand draws are the intervals; the draws are the same each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from gensynth.bench.estimate.boards.beliefs import Beliefs, Measured, Quantities
from gensynth.bench.estimate.boards.energy import OWN_SPREAD, joules
from gensynth.bench.estimate.boards.known import ROOFLINES, why_none
from gensynth.bench.estimate.boards.roofline import (
    AGENT,
    LOOPS,
    NETWORK_SPREAD,
    Clocks,
    Loop,
    Timer,
    unknown,
)
from gensynth.bench.estimate.boards.tensorrt_plan import plan
from gensynth.bench.estimate.kernels import Kernel
from gensynth.devices.profiles import Profile
from gensynth.errors import ConfigError
from gensynth.goals.figure import Figure, Provenance
from gensynth.randomness import stream

DRAWS = 4000
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
_FUSIONS = (
    "TensorRT 8 fuses as its documentation says: norms, sums and ReLU into convolutions, "
    "pointwise operators with each other, concatenations in place; other activations apart"
)


@dataclass(frozen=True)
class Setting:
    """How a network runs on a board.

    Attributes:
        precision: of its arithmetic.
        power_mode: nvpmodel's number; None for the one that is assumed.
        loop: how the runtime is driven.
        calls: engines that the network is spread over, each called by itself.
    """

    precision: str = "fp32"
    power_mode: int | None = None
    loop: Loop = AGENT
    calls: int = 1


@dataclass(frozen=True)
class Known:
    """What was measured of a network on a board of this kind.

    Attributes:
        kernels: of the network.
        images: of one run.
        setting: that it was measured in.
        latency_ms: of one run.
        joule_per_img: None where there was no sensor.
    """

    kernels: tuple[Kernel, ...]
    images: int
    setting: Setting
    latency_ms: float
    joule_per_img: float | None = None


class Board:
    """A kind of board, with what is believed of it.

    Args:
        profile: of the board.
        known: measurements there, of other networks.

    Raises:
        ConfigError: if no figures are known of it.
    """

    def __init__(self, profile: Profile, known: Sequence[Known] = ()) -> None:
        if profile.name not in ROOFLINES:
            raise ConfigError(f"no estimate for {profile.title}: {why_none(profile)}")
        self.profile, self.roofline = profile, ROOFLINES[profile.name]
        self._known = len(known)
        timers = [(one, self.timer(one.kernels, one.setting)) for one in known]
        timing = Beliefs(self.roofline.timing)
        self.timing = timing.updated(
            [
                Measured(one.latency_ms, timer.ms, timer.own_spread(timing.medians()))
                for one, timer in timers
            ]
        )
        self.power = Beliefs(self.roofline.power).updated(
            [
                Measured(one.joule_per_img * one.images, self._energy(one, timer), OWN_SPREAD)
                for one, timer in timers
                if one.joule_per_img is not None and self.roofline.power
            ]
        )

    def estimate(
        self, kernels: Sequence[Kernel], images: int, setting: Setting
    ) -> dict[str, Figure]:
        """Return the figures of a network by metric.

        Args:
            kernels: of one run.
            images: of one run.
            setting: how it runs.

        Returns:
            "latency_ms", "throughput", and where the board's power is known "joule_per_img",
            "img_per_joule" and "power_w".

        Raises:
            ConfigError: if the board does not have the precision, or the power mode is not known.
        """
        timer = self.timer(kernels, setting)
        normal = stream(0, "kernels").standard_normal((DRAWS, len(timer.kernels) + 2))
        ms = timer.ms(self.timing.draws(DRAWS), normal[:, 2:])
        ms = ms * np.exp(NETWORK_SPREAD * normal[:, 0])
        found = {"latency_ms": ms, "throughput": images / ms * 1e3}
        if self.roofline.power:
            joule = joules(
                timer, setting.precision, self.static_factor(setting), self.power.draws(DRAWS), ms
            ) * np.exp(OWN_SPREAD * normal[:, 1])
            found["joule_per_img"] = joule / images
            found["img_per_joule"] = images / joule
            found["power_w"] = joule / ms * 1e3
        missing = unknown(kernels)
        return {metric: self._figure(draws, missing) for metric, draws in found.items()}

    def file(
        self, model: ModelProto, images: int, setting: Setting
    ) -> tuple[tuple[Kernel, ...], dict[str, Figure]]:
        """Return the kernels of a file and its figures by metric.

        Raises:
            ConfigError: as `estimate`.
            ExportError: if the size of a value does not follow from the file.
        """
        kernels = plan(model, setting.precision, images)
        return kernels, self.estimate(kernels, images, setting)

    def assumptions(self, setting: Setting) -> list[str]:
        """Return what the figures rest on, a sentence each."""
        clocks, mode = self.clocks(setting), self.mode(setting)
        names = self.profile.power_modes or {}
        named = (
            f"power mode {mode} {names.get(mode, '')}".strip() if mode is not None else "the clocks"
        )
        roofline = self.roofline
        speeds = (
            f"GPU {clocks.gpu:g} MHz, processor {clocks.cpu:g} MHz, memory {clocks.memory:g} MHz"
        )
        said = [
            f"{named}: {speeds}, locked",
            f"driven by {setting.loop.title}; a loop in Python or unlocked clocks are slower",
            _FUSIONS,
            *roofline.sources,
        ]
        for name, belief in roofline.timing.items():
            if name in LOOPS:
                continue
            value, unit = belief.median, "of the peak"
            if name in ("call", "launch"):
                value, unit = value * roofline.slowdown(clocks), "ms at these clocks"
            said.append(f"{name}: {value:.2g} {unit}, spread {belief.spread:.2f} ({belief.source})")
        if not roofline.power:
            said.append("no energy: no figures are known of this board's power")
        for name, belief in roofline.power.items():
            if name.startswith("joule_per_mac") and not name.endswith(setting.precision):
                continue
            value, unit = belief.median, "J"
            if name == "static":
                value, unit = roofline.static_w[mode], "W"
            said.append(f"{name}: {value:g} {unit}, spread {belief.spread:.2f} ({belief.source})")
        return said

    def mode(self, setting: Setting) -> int | None:
        """Return the power mode that a setting means.

        Raises:
            ConfigError: if its clocks are not known.
        """
        mode = self.roofline.default_mode if setting.power_mode is None else setting.power_mode
        if mode not in self.roofline.modes:
            self.profile.check_power_mode(setting.power_mode or 0)
            raise ConfigError(
                f"the clocks of power mode {mode} on {self.profile.title} are not known; leave it "
                "out for an estimate at the data sheet's clocks"
            )
        return mode

    def clocks(self, setting: Setting) -> Clocks:
        """Return the clocks of a setting."""
        return self.roofline.modes[self.mode(setting)]

    def timer(self, kernels: Sequence[Kernel], setting: Setting) -> Timer:
        """Return what the time of a network is a function of."""
        self.profile.check_precision(setting.precision)
        return Timer(
            kernels, self.roofline, setting.precision, self.clocks(setting), setting.loop,
            setting.calls,
        )  # fmt: skip

    def static_factor(self, setting: Setting) -> float:
        """Return the static power in a setting's mode as a multiple of that of the default."""
        watts = self.roofline.static_w
        return watts[self.mode(setting)] / watts[self.roofline.default_mode]

    def _energy(self, one: Known, timer: Timer) -> Callable[[Quantities], np.ndarray]:
        static, ms = self.static_factor(one.setting), np.array([one.latency_ms])
        return lambda power: joules(timer, one.setting.precision, static, power, ms)

    def _figure(self, draws: np.ndarray, missing: tuple[str, ...]) -> Figure:
        low95, low80, median, high80, high95 = np.quantile(draws, LEVELS).tolist()
        provenance: Provenance = "calibrated estimate" if self._known else "estimate"
        return Figure(median, (low80, high80), (low95, high95), provenance, self._known, missing)


def estimate(
    model: ModelProto,
    profile: Profile,
    *,
    batch: int = 1,
    setting: Setting = Setting(),
    known: Sequence[Known] = (),
) -> dict[str, Figure]:
    """Return what a file would take on a board, by metric.

    Args:
        model: the file.
        profile: of the board.
        batch: images of one run.
        setting: how it runs.
        known: measurements on this board, of other networks.

    Raises:
        ConfigError: if there are no figures of such a board, or it lacks what is asked for.
        ExportError: if the size of a value does not follow from the file.
    """
    return Board(profile, known).file(model, batch, setting)[1]
