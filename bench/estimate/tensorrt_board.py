"""Networks on a board with TensorRT: their figures, and tables for a search.

    none measured   what is believed of the kind of board (`board`)
    a few           the same, moved to where they explain the measurements
    `LEAST` and on  milliseconds by factors of these, one a kind of kernel, with intervals from how
                    far networks are from what the others say (`estimator`); joules are average
                    power times these milliseconds

A table's entry is the convolution that a vertex becomes, with all that is fused into it. What has
no weights (pools, reformats, the call itself) costs a network of every width about what it costs
the prototype, and stands with one vertex that every network has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto

from gensynth.bench.estimate.board import Board, Known, Setting
from gensynth.bench.estimate.calibration import OTHER_VERSION
from gensynth.bench.estimate.columns import Columns, by_kind
from gensynth.bench.estimate.energy import OWN_SPREAD, joules
from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.pieces import Piece, pieces
from gensynth.bench.estimate.processor import AveragePower
from gensynth.bench.estimate.reach import Pairs, reachable
from gensynth.bench.estimate.roofline import NETWORK_SPREAD, columns_ms, padded_macs
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.estimate.table import Role
from gensynth.bench.estimate.tensorrt_plan import WIDTH_BYTES, plan
from gensynth.devices.profiles import Profile
from gensynth.goals.figure import Figure
from gensynth.space.cost_model import Tabulated
from gensynth.space.space import Space

LEAST = 6
"""Networks from which factors a kind of kernel are learned."""

MOST = 60
"""Networks that calibrate, the newest."""


@dataclass(frozen=True)
class TensorRTBoard:
    """What is known of one board, in one context.

    Attributes:
        device: its name.
        profile: its kind.
        setting: precision and power mode.
        batch: images of one run.
        measured: networks, and the watts that each drew, if they were measured.
    """

    device: str
    profile: Profile
    setting: Setting
    batch: int = 1
    measured: tuple[tuple[Sample, float | None], ...] = ()

    @cached_property
    def board(self) -> Board:
        """What is believed, given what was measured."""
        known = [
            Known(
                sample.kernels, self.batch, self.setting, sample.latency_ms,
                None if watts is None else watts * sample.latency_ms / 1000 / self.batch,
            )
            for sample, watts in self.measured
        ]  # fmt: skip
        return Board(self.profile, known)

    def kernels(self, model: ModelProto) -> tuple[Kernel, ...]:
        """Return what TensorRT makes of a network."""
        return plan(model, self.setting.precision, self.batch)

    def times(
        self, kernels: Sequence[Kernel], profile: Sequence[Mapping[str, Any]]
    ) -> tuple[float, ...] | None:
        """Return None: TensorRT's layers are not matched with the plan's kernels."""
        return None

    def learned(self, samples: Sequence[Sample], watts: Sequence[float | None]) -> "TensorRTBoard":
        """Return what is known once these have been measured too.

        Those of another precision, batch or mode say nothing here.
        """
        pairs = zip(samples, watts, strict=True)
        more = [pair for pair in pairs if pair[0].variance <= OTHER_VERSION][:MOST]
        return replace(self, measured=(*self.measured, *more))

    @cached_property
    def estimator(self) -> Estimator | None:
        """Of milliseconds; None while too few networks were measured."""
        if len(self.measured) < LEAST:
            return None
        return Estimator.fit(
            [replace(sample, kernels=_alike(sample.kernels)) for sample, _ in self.measured], self
        )

    @property
    def spread(self) -> float:
        """Of ln(true / believed) of a network, see `Prior`."""
        return NETWORK_SPREAD

    def kernel_ms(self, columns: Columns) -> np.ndarray | None:
        """Return (kernels,) what is believed that they take; None for an unknown kind."""
        board = self.board
        clocks, timing = board.clocks(self.setting), board.timing.medians()
        return columns_ms(columns, board.roofline, self.setting.precision, clocks, timing)

    def figures(self, kernels: Sequence[Kernel]) -> dict[str, Figure]:
        """Return latency and, where the board's power is known, joules by the metric's name."""
        if self.estimator is None:
            found = self.board.estimate(kernels, self.batch, self.setting)
            return {name: found[name] for name in ("latency_ms", "joule_per_img") if name in found}
        latency = self.estimator.latency_ms(_alike(kernels))
        if not self.board.roofline.power:
            return {"latency_ms": latency}
        power = AveragePower(self._watts(kernels, latency.value), *self._power)
        return {"latency_ms": latency, "joule_per_img": power.joules(latency, self.batch)}

    @cached_property
    def _power(self) -> tuple[float, int]:
        """How far measured watts are from those that are believed, and how many they are."""
        off = [
            math.log(watts / self._watts(sample.kernels, sample.latency_ms))
            for sample, watts in self.measured
            if watts is not None
        ]
        squares = sum(one**2 for one in off) + OWN_SPREAD**2
        return math.sqrt(squares / (1 + len(off))), len(off)

    def _watts(self, kernels: Sequence[Kernel], ms: float) -> float:
        """Return the average power that is believed of a network that takes so long."""
        timer = self.board.timer(kernels, self.setting)
        static = self.board.static_factor(self.setting)
        power = self.board.power.medians()
        found = joules(timer, self.setting.precision, static, power, np.array([ms]))
        return 1e3 * float(found[0]) / ms

    def table(self, space: Space, names: Sequence[str], model: ModelProto) -> Tabulated:
        """Return the costs of a space's vertices.

        Args:
            space: whose.
            names: "latency_ms", and "joule_per_img" where joules are asked for.
            model: the prototype's file.
        """
        graph = space.coupling.graph
        sites = {name: n for n, name in enumerate(space.sites.names[: space.sites.convs])}
        whole = self._whole(self.kernels(model))
        tables, known = [], {}
        covered = np.zeros(2)
        for number, name in enumerate(space.vertices):
            vertex, pairs = graph[name], reachable(space, number)
            options = ("", *space.sites.substitutes) if name in sites else ("",)
            allowed = space.sites.allowed[sites[name]] if name in sites else np.array([True])
            if vertex.op not in ("conv", "linear"):
                none = np.zeros((1, len(pairs.rows), len(pairs.columns), 2))
                tables.append(none)
                continue
            role = Role.of(graph, vertex)
            key = (role.op, role.image, role.groups, pairs.key, options, tuple(allowed.tolist()))
            if key not in known:
                known[key] = np.stack(
                    [
                        _spread(pairs, self._entries(role, option if may else "", pairs))
                        for option, may in zip(options, allowed, strict=True)
                    ]
                )
            tables.append(known[key])
            covered = covered + known[key][0, -1, -1]
        blocks = space.coupling.blocks
        home = next(
            number
            for number, name in enumerate(space.vertices)
            if not any(name in removable.vertices for removable in blocks)
        )
        tables[home] = tables[home] + np.maximum(whole - covered, 0.0)
        wanted = [name for name in ("latency_ms", "joule_per_img") if name in names]
        at = np.array([sites.get(name, -1) for name in space.vertices])
        return Tabulated(
            tuple(f"{name}@{self.device}" for name in wanted),
            [table[..., : len(wanted)] for table in tables],
            at,
        )

    def _entries(self, role: Role, substitute: str, pairs: Pairs) -> np.ndarray:
        """Return (pairs, 2): milliseconds and joules an image of a vertex."""
        total = np.zeros((len(pairs.read), 2))
        for columns in self._chain(role, substitute, pairs):
            total += self._both(columns)
        return total

    def _both(self, columns: Columns) -> np.ndarray:
        """Return (kernels, 2): milliseconds and joules an image of each, its launch included."""
        told = self.kernel_ms if self.estimator is None else self.estimator.columns_ms
        found = told(columns)
        ms = np.zeros(len(columns)) if found is None else np.nan_to_num(found)
        joule = self._static_w() * ms / 1e3
        if self.board.roofline.power:
            power = self.board.power.medians()
            per_mac, per_byte = (
                float(power[name][0])
                for name in (f"joule_per_mac {self.setting.precision}", "joule_per_byte")
            )
            macs = padded_macs(columns, self.board.roofline, self.setting.precision)
            joule = joule + per_mac * macs + per_byte * columns.moved
        return np.stack([ms, joule / self.batch], axis=1)

    def _whole(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Return (2,): what a network takes, the call included."""
        found = np.zeros(2)
        for columns, _ in by_kind(_alike(kernels)):
            found += self._both(columns).sum(axis=0)
        if self.estimator is None:
            timer = self.board.timer(kernels, self.setting)
            call_ms = float(timer.ms(self.board.timing.medians())[0]) - found[0]
        else:
            call_ms = self.estimator.offset_ms
        whole: np.ndarray = found + call_ms * np.array([1.0, self._static_w() / 1e3 / self.batch])
        return whole

    def _static_w(self) -> float:
        """Return the watts that are drawn all the time; 1 where no figures are known."""
        if not self.board.roofline.power:
            return 1.0
        static = float(self.board.power.medians()["static"][0])
        return static * self.board.static_factor(self.setting)

    def _chain(self, role: Role, substitute: str, pairs: Pairs) -> Iterator[Columns]:
        """Yield the kernels of every pair, one convolution of a chain after the other."""
        bytes_each = WIDTH_BYTES[self.setting.precision]
        if role.op == "linear":
            yield _columns("gemm", pairs.read, pairs.written, 1, 1, 1, self.batch, bytes_each)
            return
        for piece in pieces(role.image, role.groups, substitute, pairs.read, pairs.written):
            image = piece.image
            area, positions = math.prod(image.kernel), image.height * image.width
            read, written = np.broadcast_arrays(piece.read, piece.written)
            yield _columns(
                _kind(piece), read, written, piece.groups, area, positions, self.batch,
                bytes_each, image.source,
            )  # fmt: skip


def _alike(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Return kernels of which those with a fused sum are of the same kind as those without."""
    return tuple(replace(kernel, kind=kernel.kind.removesuffix(" add")) for kernel in kernels)


def _kind(piece: Piece) -> str:
    if piece.is_depthwise:
        return "depthwise"
    if np.ndim(piece.groups) or piece.groups != 1:
        return "grouped"
    return "conv 1x1" if piece.image.kernel == (1, 1) else "conv"


def _columns(
    kind: str,
    read: np.ndarray,
    written: np.ndarray,
    groups: Any,
    area: int,
    positions: int,
    batch: int,
    bytes_each: int,
    source: int | None = None,
) -> Columns:
    weights = read * written * area // groups
    values = read * (source or positions) * batch
    moved = (values + weights + written + written * positions * batch) * bytes_each
    return Columns(
        kind,
        (weights * positions * batch).astype(float),
        moved.astype(float),
        {
            "channels_read": read,
            "channels_written": written,
            "groups": np.broadcast_to(groups, read.shape),
        },
    )


def _spread(pairs: Pairs, values: np.ndarray) -> np.ndarray:
    return np.stack([pairs.spread(values[:, column]) for column in range(2)], axis=-1)
