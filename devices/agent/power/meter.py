"""What a source of energy figures is: a description and a way to read it.

The sources are `rails`, `nvml`, `rapl`, `raspberry` and `jtop_`; `meters` picks one.
"""

from typing import Any, Callable, Dict, Optional, Tuple

from gensynth.devices.agent.wire.status import Fault


class NoMeter(Fault):
    """There is no energy to be had; the message says why, and what to do about it."""

    def __init__(self, reason: str, details: Optional[Dict[str, Any]] = None) -> None:
        super().__init__("sensor_missing", reason, details)


class Meter:
    """One source of watts, or of joules since some time.

    Attributes:
        rail: what is measured, as the machine names it.
        scope: how much of the machine that is: "module", "sum_of_rails", "gpu_board" or
            "package". Figures of different scopes are never compared.
        sensor: what measures, in words, with its averaging where that is known.
        kind: "power" (`read` gives watts) or "counter" (joules that only rise).
        period_s: how often there is something new.
        tau_s: time constant of the sensor's own averaging; 0 for a snapshot and a counter.
        tau_known: whether the driver says `tau_s`; if not, it is the driver's default.
        plausible_w: the least and the most that the machine can draw.
        offset_w: bound of the constant error; None where no one states it.
        gain_pct: bound of the proportional error; None likewise.
        typical_w: the power at which `syst_pct` is stated.
        read: the reading now. OSError if it failed this once.
        close: gives back what the source holds; nothing is read afterwards.
        seen: what the self-test found.
    """

    def __init__(
        self,
        read: Callable[[], float],
        rail: str,
        scope: str,
        sensor: str,
        kind: str,
        period_s: float,
        tau_s: float,
        plausible_w: Tuple[float, float],
        offset_w: Optional[float] = None,
        gain_pct: Optional[float] = None,
        typical_w: Optional[float] = None,
        tau_known: bool = True,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.read = read
        self.close = close
        self.rail = rail
        self.scope = scope
        self.sensor = sensor
        self.kind = kind
        self.period_s = period_s
        self.tau_s = tau_s
        self.plausible_w = plausible_w
        self.offset_w = offset_w
        self.gain_pct = gain_pct
        self.typical_w = typical_w
        self.tau_known = tau_known
        self.seen: Dict[str, Any] = {}

    @property
    def syst_pct(self) -> Optional[float]:
        """Bound of the systematic error at a typical power; None where no one states it."""
        if self.offset_w is None or self.gain_pct is None or self.typical_w is None:
            return None
        return 100 * self.offset_w / self.typical_w + self.gain_pct

    def describe(self) -> Dict[str, Any]:
        """Return everything that a figure from this source must carry, as JSON values."""
        return {
            "rail": self.rail,
            "scope": self.scope,
            "sensor": self.sensor,
            "kind": self.kind,
            "period_s": self.period_s,
            "tau_s": self.tau_s,
            "plausible_w": list(self.plausible_w),
            "offset_w": self.offset_w,
            "gain_pct": self.gain_pct,
            "syst_pct": self.syst_pct,
            "seen": dict(self.seen),
        }
