"""How long a measurement takes and what it is worth: loop, quick, standard or report.

    loop       warm-up of 0.2 s and more, 12 rounds of 0.1 s; energy in 3 windows of 2 s; for a
               search between two trainings, never for what is certified
    quick      warm-up of 2 s and more, 8 rounds of 1 s; no energy
    standard   warm-up of 30 s and more, 8 rounds of 10 s; energy in 10 windows of 10 s
    report     as standard, with 600 s of rounds and 600 s of windows, as in MLPerf

The times are those of each network; all of a job take turns. Figures of a machine that was not
quiet meanwhile are flagged: quick allows more scatter, as its warm-up does. A grade is a part of
every record, and figures of two grades are never put in one ratio.
"""

from dataclasses import dataclass, replace
from typing import Any

from gensynth.errors import ConfigError
from gensynth.suggestion import did_you_mean

_RUNS_AT_LEAST = 2
_LEAST_RUN_S = 300.0
_MOST_S = 24 * 3600.0


@dataclass(frozen=True)
class Warmup:
    """Runs that are not counted: blocks, until three in a row agree.

    Attributes:
        min_s: the shortest.
        block_s: length of a block.
        agree_pct: how far the largest median of three blocks may be above the smallest.
        cap_s: no block begins after it; the figures are "not_steady" then.
    """

    min_s: float
    block_s: float
    agree_pct: float
    cap_s: float


@dataclass(frozen=True)
class Windows:
    """How energy is taken.

    Attributes:
        idle_s: the window without work, before the load; reported, never subtracted.
        settle_s: work before each window: five time constants of the slowest known sensor.
        windows: of each network.
        window_s: length of one.
        rate_hz: polls of the sensor, each at a random moment of its period.
    """

    idle_s: float = 20.0
    settle_s: float = 2.5
    windows: int = 10
    window_s: float = 10.0
    rate_hz: float = 50.0


@dataclass(frozen=True)
class Quiet:
    """What must hold of the machine meanwhile; where it does not, the figures are flagged.

    Attributes:
        cov_pct: the coefficient of variation of a network's runs, at most.
        load: processors that others keep busy, at most; on a machine of many, a twentieth of them.
        reference_s: length of the reference network's turn in every round.
        slower_pct: how much more than usual the reference network may take.
    """

    cov_pct: float
    load: float
    reference_s: float
    slower_pct: float

    def load_of(self, processors: float | None) -> float:
        """Return how many processors others may keep busy, of so many."""
        return max(self.load, (processors or 0) / 20)


@dataclass(frozen=True)
class Grade:
    """What a job of this grade does with each network.

    Attributes:
        name: as `--grade` takes it.
        warmup: before the first round.
        rounds: turns of each network.
        round_s: the least that a turn lasts.
        energy: None if this grade has none.
        quiet: None demands nothing of the machine.
    """

    name: str
    warmup: Warmup
    rounds: int
    round_s: float
    energy: Windows | None
    quiet: Quiet | None = None

    def timing(self) -> dict[str, Any]:
        """Return the "timing" of a job's specification."""
        return {
            "warmup": dict(vars(self.warmup)),
            "rounds": self.rounds,
            "runs": _RUNS_AT_LEAST,
            "min_round_s": self.round_s,
        }

    def windows(self, seed: int) -> dict[str, Any]:
        """Return the "energy" of a job's specification.

        Raises:
            ConfigError: if this grade takes no energy.
        """
        if self.energy is None:
            raise ConfigError(
                f"grade {self.name} takes no energy, whose windows are too long for it; "
                "use --grade standard"
            )
        return {**vars(self.energy), "seed": seed}

    def seconds(self, networks: int, *, energy: bool) -> float:
        """Return about how long a job takes that is steady at once, building left out."""
        each = max(self.warmup.min_s, 3 * self.warmup.block_s) + self.rounds * self.round_s
        total = networks * each
        if self.quiet is not None:
            total += (self.rounds + 3) * self.quiet.reference_s
        if energy and self.energy is not None:
            window_s = self.energy.settle_s + self.energy.window_s
            total += self.energy.settle_s + self.energy.idle_s
            total += networks * self.energy.windows * window_s
        return total

    def limit_s(self, networks: int, *, energy: bool) -> float:
        """Return after how long a job is given up on a board of usual speed.

        The warm-ups' caps and a wide margin; a board that is slow at its first runs has more.
        """
        caps_s = networks * self.warmup.cap_s
        return min(_MOST_S, _LEAST_RUN_S + caps_s + 3 * self.seconds(networks, energy=energy))


_SETTLED = Warmup(min_s=30.0, block_s=10.0, agree_pct=0.5, cap_s=300.0)

_QUIET = Quiet(cov_pct=2.5, load=0.3, reference_s=0.5, slower_pct=10.0)

GRADES = (
    Grade(
        "loop", Warmup(0.2, 0.1, 10.0, 2.0), rounds=12, round_s=0.1,
        energy=Windows(idle_s=1.0, windows=3, window_s=2.0),
        quiet=replace(_QUIET, cov_pct=20.0, reference_s=0.05),
    ),
    Grade(
        "quick", Warmup(2.0, 1.0, 5.0, 15.0), rounds=8, round_s=1.0, energy=None,
        quiet=replace(_QUIET, cov_pct=10.0, reference_s=0.1),
    ),
    Grade("standard", _SETTLED, rounds=8, round_s=10.0, energy=Windows(), quiet=_QUIET),
    Grade("report", _SETTLED, rounds=60, round_s=10.0, energy=Windows(windows=60), quiet=_QUIET),
)  # fmt: skip
_BY_NAME = {grade.name: grade for grade in GRADES}


def find_grade(name: str | None, *, energy: bool = False) -> Grade:
    """Return a grade by its name; without one, the shortest that has what is asked for.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name is None:
        return _BY_NAME["standard" if energy else "quick"]
    if name not in _BY_NAME:
        raise ConfigError(f"unknown grade '{name}'; {did_you_mean(name, _BY_NAME)}")
    return _BY_NAME[name]
