"""A small space with a planted truth: which widths decide accuracy, and what was seen of it."""

import functools

import numpy as np
import torch

from gensynth.goals.score import Proportion
from gensynth.prototypes.resnet import ResNet
from gensynth.search.importance import Importance
from gensynth.search.inquisitor import SHORT, Inquisitor, Observation
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace


@functools.cache
def space() -> Space:
    """Return the space of a ResNet-8: trunks and inner widths of 6, 8 and 10, three blocks."""
    module = ResNet(blocks=1, widths=(6, 8, 10), classes=4, channels=1)
    return Space(couple(trace(module, torch.zeros(1, 1, 8, 8), name="small")))


def importance(seed: int = 0) -> Importance:
    random = np.random.default_rng(seed)
    return Importance(
        channel_nats=tuple(np.exp(random.normal(-4, 1, size)) for size in space().sizes),
        block_nats=np.array([0.5, 0.2, 0.1]),
        effective_rank=np.array([3.0, 2.0, 4.0, 2.0, 5.0, 3.0]),
        curvature=1.0,
    )


def points_at(*widths: int, bits: tuple[bool, ...] = (True, True, True)) -> Points:
    return Points(np.array([widths], dtype=np.int64), np.array([bits]))


def random_points(count: int, seed: int) -> Points:
    random = np.random.default_rng(seed)
    widths = random.integers(1, space().sizes + 1, (count, 6))
    return Points(widths, random.random((count, 3)) < 0.8)


def planted_logit(points: Points) -> np.ndarray:
    """Return an accuracy that the inner width of the last block decides, mostly."""
    relative = space().relative(points)
    alive = space().living(points)
    wide = np.where(alive, np.log(np.maximum(relative, 1e-9)), 0.0)
    return (
        2.5 + 0.3 * wide[:, 5] + 0.15 * wide.mean(axis=1) - 0.2 * (~points.kept_blocks).sum(axis=1)
    )


def observe(
    inquisitor: Inquisitor, points: Points, seed: int, fidelity: int = SHORT, gain: float = 0.0
) -> Inquisitor:
    """Count correct images of 4,000 for each network."""
    random = np.random.default_rng(seed)
    for i, value in enumerate(planted_logit(points) + gain):
        correct = int(random.binomial(4000, 1 / (1 + np.exp(-value))))
        score = Proportion("top1", correct, 4000)
        inquisitor = inquisitor.observe(Observation(points[i], fidelity, score))
    return inquisitor


@functools.cache
def learned() -> Inquisitor:
    points = random_points(60, seed=1)
    nats = np.exp(0.5 - 2 * planted_logit(points))  # the worse, the farther
    return observe(Inquisitor(space(), importance()).hear(points, nats.tolist(), 0), points, 2)
