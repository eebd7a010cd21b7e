"""All devices of a run: cost models and limits for its search, and what is known of a network.

    plan        estimates from what is known before the run
    begin       a dozen diverse networks, measured before the first cycle
    cycle       its network, measured between two trainings; estimates, tables, limits anew
    end         every network that is to be distilled as a finalist, measured before it is

What was measured stands in the run's journal, with the entry of the cycle that it was measured
after, so a run that is gone on with knows what it knew and counts nothing twice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from gensynth.bench.grades import find_grade
from gensynth.devices.sessions import Sessions
from gensynth.errors import UnreachableError
from gensynth.export.onnx import to_onnx
from gensynth.goals import metrics
from gensynth.goals.device_costs import limit_of
from gensynth.goals.figure import Figure
from gensynth.goals.requirements import Requirement
from gensynth.graph.graph import Graph
from gensynth.progress import Listener
from gensynth.runs.hardware.board import Board, Seen
from gensynth.runs.hardware.documents import ALL, outcome_of, point_of, to_document
from gensynth.runs.hardware.measuring import Outcome, measured
from gensynth.space.points import Point, Points
from gensynth.space.space import Space

AT_ONCE = 4
"""Networks of one job: what disturbs it costs no more than these."""

ATTEMPTS = 3
"""How often a network is measured anew where the device, and not the network, was at fault."""

_Z80 = 1.2816


class Hardware:
    """A run's devices, which learn as it goes on.

    Args:
        boards: one a device that something is asked of.
        space: of the prototype, with its exact costs.
        requirements: of the run.
    """

    def __init__(
        self, boards: Sequence[Board], space: Space, requirements: Sequence[Requirement]
    ) -> None:
        self._boards = {board.device.name: board for board in boards}
        self._exact = space
        self._requirements = [r for r in requirements if r.of == "device"]
        self._prototype = space.whole(1)[0]
        self._space: Space | None = None
        self._model = _model(space, self._prototype) if boards else onnx.ModelProto()
        self._kernels = lru_cache(maxsize=4096)(self._planned)
        self._sessions = Sessions()

    def __bool__(self) -> bool:
        return bool(self._boards)

    def close(self) -> None:
        """End the sessions with the devices; a later measurement opens them anew."""
        self._sessions.close()

    @property
    def boards(self) -> tuple[Board, ...]:
        """In the order of the run file."""
        return tuple(self._boards.values())

    @property
    def attached(self) -> bool:
        """Whether some device can be asked."""
        return any(board.device.device is not None for board in self._boards.values())

    @property
    def in_fp16(self) -> tuple[str, ...]:
        """Names of the devices that compute in FP16."""
        boards = self._boards.items()
        return tuple(n for n, board in boards if board.device.config.precision == "fp16")

    @property
    def batches(self) -> dict[str, int]:
        """Images of one run, by device."""
        return {name: board.device.config.batch for name, board in self._boards.items()}

    @property
    def space(self) -> Space:
        """The prototype's space with the costs of all devices, as they are estimated now."""
        return self.tabulate()

    def tabulate(self) -> Space:
        """Return `space`, made anew if something was learned since."""
        if self._space is None:
            self._space = self._exact.with_models(
                *(board.table(self._exact, self._model) for board in self._boards.values())
            )
        return self._space

    def asked(self) -> dict[str, float]:
        """Return the largest cost that the requirements allow of a device, by cost."""
        found: dict[str, float] = {}
        for requirement in self._requirements:
            board = self._boards[requirement.device]
            limit = limit_of(requirement, board.device.config.batch, board.p99_ratio)
            if limit is not None:
                key, most = limit
                found[key] = min(most, found.get(key, np.inf))
        return found

    def limits(self) -> dict[str, float]:
        """Return the largest allowed estimate by cost: a limit less the estimate's own doubt.

        A network within it keeps the requirement at the upper end of its 80 % interval.
        """
        found = {}
        for key, most in self.asked().items():
            cost, name = metrics.parts_of(key)
            margin = self._boards[name].margin(cost, self._kernels(name, self._prototype))
            if margin is not None:  # nothing can be held against what nothing is known of
                found[key] = most / margin
        return found

    def check_reachable(self) -> None:
        """Refuse a requirement on a device that surely no network of the space keeps.

        Raises:
            UnreachableError: with the estimate of the smallest network and the prototype.
        """
        smallest = self._exact.smallest()[0]
        for requirement in self._requirements:
            figure = self.figures(smallest).get(requirement.key)
            if figure is None or figure.unknown:
                continue
            holds = _holds(requirement, figure)
            whole = self.figures(self._prototype)[requirement.key]
            if requirement.metric == metrics.POWER.name:  # which falls with no cost
                holds = max(holds, _holds(requirement, whole))
            if holds < 0.025:
                raise UnreachableError(
                    f'no network of this prototype is likely to have "{requirement}": the smallest '
                    f"has about {figure.value:.4g} (95 %: {figure.interval95[0]:.4g} to "
                    f"{figure.interval95[1]:.4g}, {figure.provenance}) and the prototype "
                    f"{whole.value:.4g}; relax the requirement"
                )

    def reach(self) -> dict[str, tuple[Figure, Figure]]:
        """Return what is known of the smallest network and of the prototype, by key."""
        smallest = self.figures(self._exact.smallest()[0]) if self else {}
        whole = self.figures(self._prototype) if self else {}
        return {key: (smallest[key], whole[key]) for key in smallest}

    def figures(self, point: Point) -> dict[str, Figure]:
        """Return what is known of a network by key: measured where it was, else estimated."""
        found = {}
        for name, board in self._boards.items():
            for metric, figure in board.figures(point, self._kernels(name, point)).items():
                found[metrics.key_of(metric, name)] = figure
        return found

    def estimated(self, graph: Graph) -> dict[str, Figure]:
        """Return what is estimated of a network by key, whatever was measured of it."""
        if not self:
            return {}
        found, point = {}, self._exact.point(graph.selection)
        for name, board in self._boards.items():
            bare = replace(board, seen=())
            for metric, figure in bare.figures(point, self._kernels(name, point)).items():
                found[metrics.key_of(metric, name)] = figure
        return found

    def unable(self, point: Point) -> str | None:
        """Return a device that was seen to be unable to run this network at all; None without."""
        seen = (name for name, board in self._boards.items() if board.is_infeasible(point))
        return next(seen, None)

    def measure(
        self,
        prototype: bytes,
        points: Points,
        networks: Sequence[bytes],
        why: Sequence[str],
        listener: Listener,
    ) -> list[dict[str, Any]]:
        """Measure networks on every device that can be asked, a few at a time, and learn from it.

        Args:
            prototype: its ONNX file.
            points: the networks.
            networks: their ONNX files.
            why: each of them.
            listener: hears of faults.

        Returns:
            What came of it, beside what was estimated until then, for the journal.
        """
        documents = []
        for name, board in self._boards.items():
            if board.device.device is None:
                continue
            new = [n for n in range(len(points)) if not board.is_known(points[n])]
            away: Outcome | None = None
            for start in range(0, len(new), AT_ONCE):
                places = new[start : start + AT_ONCE]
                if away is None:
                    outcomes = measured(
                        board.device, board.names, prototype, [networks[n] for n in places],
                        opened=self._sessions, listener=listener,
                    )[1:]  # fmt: skip
                    away = next((one for one in outcomes if one.status == "device_lost"), None)
                else:  # it is not asked for the others
                    outcomes = [away] * len(places)
                for place, outcome in zip(places, outcomes, strict=True):
                    before = board.estimates.figures(self._kernels(name, points[place]))
                    documents.append(to_document(name, points[place], outcome, why[place], before))
        self.remember(documents)
        return documents

    def owed(self) -> list[Point]:
        """Return networks that a device could not measure when it was asked, each once.

        It was away, busy or throttled then; after `ATTEMPTS` it is not asked again.
        """
        found = [
            point
            for board in self._boards.values()
            if board.device.device is not None
            for point in board.owed(ATTEMPTS)
        ]
        return list(dict.fromkeys(found))

    def is_known(self, point: Point) -> bool:
        """Return whether measuring this network would tell nothing new on any device."""
        asked = [board for board in self._boards.values() if board.device.device is not None]
        return all(board.is_known(point) for board in asked)

    def spreads(self) -> dict[str, float]:
        """Return how unsure estimates are by the cost of a device that can be asked.

        A standard deviation of ln(true / estimated), from the prototype's 80 % interval.
        """
        found = {}
        for name, board in self._boards.items():
            if board.device.device is not None:
                for cost in board.sums:
                    margin = board.margin(cost, self._kernels(name, self._prototype))
                    if margin is not None:
                        found[metrics.key_of(cost, name)] = math.log(margin) / _Z80
        return found

    def finally_measured(
        self, networks: Sequence[bytes], listener: Listener
    ) -> list[dict[str, Figure]]:
        """Measure what is handed over, at a grade that counts; by key, in the order given."""
        first, *others = networks
        found: list[dict[str, Figure]] = [{} for _ in networks]
        for name, board in self._boards.items():
            if board.device.device is None:
                continue
            energy = any(metrics.find(one, one).needs_energy for one in board.names)
            grade = find_grade(board.device.config.grade, energy=energy).name
            outcomes = measured(
                board.device, board.names, first, others,
                grade=grade, opened=self._sessions, listener=listener,
            )  # fmt: skip
            for figures, outcome in zip(found, outcomes, strict=True):
                figures.update({metrics.key_of(one, name): f for one, f in outcome.figures.items()})
        return found

    def remember(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Learn from what a journal says was measured.

        Raises:
            ValueError: if that is damaged, or of another prototype.
        """
        ALL.check(list(documents))
        for name, board in self._boards.items():
            own = [document for document in documents if document["device"] == name]
            if own:
                more = [
                    Seen(point, outcome_of(document), self._kernels(name, point))
                    for document, point in ((d, point_of(d, self._exact)) for d in own)
                ]
                self._boards[name] = board.with_seen(more)
                self._space = None

    def _planned(self, name: str, point: Point) -> tuple[Any, ...]:
        return self._boards[name].first.kernels(_model(self._exact, point))


def _holds(requirement: Requirement, figure: Figure) -> float:
    """Return the probability that a network keeps a requirement."""
    below = figure.probability_below(requirement.limit)
    return below if requirement.comparison.startswith("<") else 1 - below


def _model(space: Space, point: Point) -> onnx.ModelProto:
    """Return a network's ONNX file, with weights of no meaning."""
    ranking = [np.arange(size) for size in space.sizes]
    graph = space.coupling.apply(space.selection(space.points([point]), 0, ranking))
    return onnx.load_from_string(to_onnx(graph, _weights(graph)))


def _weights(graph: Graph) -> dict[str, np.ndarray]:
    return {key: np.ones(shape, np.float32) for key, shape in graph.tensor_shapes.items()}
