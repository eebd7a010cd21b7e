"""Networks on a board with TensorRT: their figures, and tables for a search.

A table's entry is the convolution that a vertex becomes, with all that is fused into it: its work
at the medians of what is believed of the board, and its launch. What has no weights (pools,
reformats, the call itself) costs a network of every width about what it costs the prototype, and
stands with one vertex that every network has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto

from gensynth.bench.estimate.board import Board, Known, Setting
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.pieces import Piece, pieces
from gensynth.bench.estimate.reach import Pairs, reachable
from gensynth.bench.estimate.roofline import class_of
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.estimate.table import Role
from gensynth.bench.estimate.tensorrt_plan import WIDTH_BYTES, plan
from gensynth.devices.profiles import Profile
from gensynth.goals.figure import Figure
from gensynth.space.cost_model import Tabulated
from gensynth.space.space import Space


@dataclass(frozen=True)
class TensorRTBoard:
    """What is known of one board, in one context.

    Attributes:
        device: its name.
        profile: its kind.
        setting: precision and power mode.
        batch: images of one run.
        known: networks that were measured.
    """

    device: str
    profile: Profile
    setting: Setting
    batch: int = 1
    known: tuple[Known, ...] = ()

    @cached_property
    def board(self) -> Board:
        """What is believed, given what was measured."""
        return Board(self.profile, self.known)

    def kernels(self, model: ModelProto) -> tuple[Kernel, ...]:
        """Return what TensorRT makes of a network."""
        return plan(model, self.setting.precision, self.batch)

    def times(
        self, kernels: Sequence[Kernel], profile: Sequence[Mapping[str, Any]]
    ) -> tuple[float, ...] | None:
        """Return None: TensorRT's layers are not matched with the plan's kernels."""
        return None

    def learned(self, samples: Sequence[Sample], watts: Sequence[float | None]) -> "TensorRTBoard":
        """Return what is known once these have been measured too."""
        known = [
            Known(
                sample.kernels, self.batch, self.setting, sample.latency_ms,
                None if power is None else power * sample.latency_ms / 1000 / self.batch,
            )
            for sample, power in zip(samples, watts, strict=True)
        ]  # fmt: skip
        return replace(self, known=(*self.known, *known))

    def figures(self, kernels: Sequence[Kernel]) -> dict[str, Figure]:
        """Return latency and, where the board's power is known, joules by the metric's name."""
        found = self.board.estimate(kernels, self.batch, self.setting)
        return {name: found[name] for name in ("latency_ms", "joule_per_img") if name in found}

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
        for kernels in self._chain(role, substitute, pairs):
            total += self._both(kernels)
        return total

    def _both(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Return (kernels, 2): milliseconds and joules an image of each, its launch included."""
        timer = self.board.timer(kernels, self.setting)
        timing, power = self.board.timing.medians(), self.board.power.medians()
        ms = timer.busy_ms(timing)[0] + float(timer.launch_ms(timing)[0])
        joule = self._static_w() * ms / 1e3
        if self.board.roofline.power:
            joule = (
                joule
                + power[f"joule_per_mac {self.setting.precision}"] * timer.macs
                + power["joule_per_byte"] * timer.bytes_moved
            )
        return np.stack([ms, joule / self.batch], axis=1)

    def _whole(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Return (2,): what a network takes, the call included."""
        each = self._both(kernels).sum(axis=0)
        timer = self.board.timer(kernels, self.setting)
        call_ms = float(timer.ms(self.board.timing.medians())[0]) - each[0]
        found: np.ndarray = each + call_ms * np.array([1.0, self._static_w() / 1e3 / self.batch])
        return found

    def _static_w(self) -> float:
        """Return the watts that are drawn all the time; 1 where no figures are known."""
        if not self.board.roofline.power:
            return 1.0
        static = float(self.board.power.medians()["static"][0])
        return static * self.board.static_factor(self.setting)

    def _chain(self, role: Role, substitute: str, pairs: Pairs) -> Iterator[list[Kernel]]:
        """Yield the kernels of every pair, one convolution of a chain after the other."""
        bytes_each = WIDTH_BYTES[self.setting.precision]
        if role.op == "linear":
            yield [
                _kernel("gemm", int(r), int(w), 1, 1, 1, self.batch, bytes_each)
                for r, w in zip(pairs.read, pairs.written, strict=True)
            ]
            return
        for piece in pieces(role.image, role.groups, substitute, pairs.read, pairs.written):
            yield self._piece(piece, bytes_each)

    def _piece(self, piece: Piece, bytes_each: int) -> list[Kernel]:
        image = piece.image
        area, positions = math.prod(image.kernel), image.height * image.width
        kind = _kind(piece)
        read, written = np.broadcast_arrays(piece.read, piece.written)
        groups = np.broadcast_to(piece.groups, read.shape)
        return [
            _kernel(
                kind, int(r), int(w), int(g), area, positions, self.batch, bytes_each, image.source
            )
            for r, w, g in zip(read, written, groups, strict=True)
        ]


def _kind(piece: Piece) -> str:
    if piece.is_depthwise:
        return "depthwise"
    if np.ndim(piece.groups) or piece.groups != 1:
        return "grouped"
    return "conv 1x1" if piece.image.kernel == (1, 1) else "conv"


def _kernel(
    kind: str,
    read: int,
    written: int,
    groups: int,
    area: int,
    positions: int,
    batch: int,
    bytes_each: int,
    source: int | None = None,
) -> Kernel:
    weights = read * written * area // groups
    values = read * (source or positions) * batch
    found = Kernel(
        kind,
        "",
        weights * positions * batch,
        (values + weights + written) * bytes_each,
        written * positions * batch * bytes_each,
        {"channels_read": read, "channels_written": written},
    )
    assert class_of(found) is not None, kind
    return found


def _spread(pairs: Pairs, values: np.ndarray) -> np.ndarray:
    return np.stack([pairs.spread(values[:, column]) for column in range(2)], axis=-1)
