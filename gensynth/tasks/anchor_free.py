"""An anchor-free detector's answers on several scales, and how they are taught, from the papers.

    assignment   task-aligned (Feng et al., TOOD, arXiv:2108.07755, section 3.2)
    classes      quality focal loss (Li et al., generalised focal loss, arXiv:2006.04388, eq. 2)
    sides        distribution focal loss (the same, eq. 6) where a side is a distribution over bins
    boxes        generalised intersection over union (Rezatofighi et al., arXiv:1902.09630)

Every cell may speak of an object in whose box its centre lies. For a cell of score s of the
object's class and overlap u of its box with the object's, the alignment is t = s^ALPHA u^BETA; each
object takes the CANDIDATES cells where it is largest, and a cell that two take goes to the one it
overlaps more. Its target is t, scaled for each object so that the largest is its largest u.

    loss = [ sum of |y - p|^2 BCE(p, y) over cells and classes
             + sum over cells with an object of y (BOX_WEIGHT (1 - GIoU) + SIDE_WEIGHT DFL) ]
           / sum of y

Distributions: classes as in `gensynth.tasks.detectnet`; the sides of a cell with an object are
drawn from their bins, or Laplace about the distance where there are none.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gensynth.data.boxes import CLASS, IGNORED, Boxes
from gensynth.tasks.boxes import stride_of
from gensynth.tasks.detectnet import (
    CORNER_SCALE,
    bernoulli_divergence,
    covered_at_all,
    drawn_coverage,
)

ALPHA, BETA = 1.0, 6.0
CANDIDATES = 13
BOX_WEIGHT, SIDE_WEIGHT = 2.0, 0.25

Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cells:
    """The cells of all scales, one after the other.

    Attributes:
        logits: (batch, cells, classes).
        sides: (batch, cells, 4, bins); of one bin, the distance itself.
        centres: (cells, 2), x and y in pixels.
        strides: (cells,) pixels.
    """

    logits: Tensor
    sides: Tensor
    centres: Tensor
    strides: Tensor

    def boxes(self) -> Tensor:
        """Return what the cells' boxes are: (batch, cells, 4), in pixels."""
        reach = self.distances() * self.strides[:, None]
        return torch.cat([self.centres - reach[..., :2], self.centres + reach[..., 2:]], dim=-1)

    def distances(self) -> Tensor:
        """Return the distances to the sides, in cells: (batch, cells, 4)."""
        bins = self.sides.shape[-1]
        if bins == 1:
            return self.sides[..., 0]
        return self.sides.softmax(-1) @ torch.arange(
            bins, device=self.sides.device, dtype=self.sides.dtype
        )


class Scales:
    """Pairs of maps, of class logits and of sides, fine to coarse."""

    kind = "scales"
    overlap = 0.6
    """Above which the less sure of two boxes of a class is suppressed."""

    def loss(self, maps: Maps, targets: Boxes) -> Tensor:
        """Return the loss above, over the batch."""
        cells = flattened(maps, targets.height)
        quality, goal, ignored = self.assigned(cells, targets)
        p = torch.sigmoid(cells.logits)
        entropy = F.binary_cross_entropy_with_logits(cells.logits, quality, reduction="none")
        classes = ((quality - p).square() * entropy * ~ignored[..., None]).sum()
        weight = quality.amax(-1)
        at = weight > 0
        shared = weight.sum().clamp_min(1.0)
        boxes = (weight[at] * (1 - generalised_overlap(cells.boxes()[at], goal[at]))).sum()
        total = classes + BOX_WEIGHT * boxes
        if cells.sides.shape[-1] > 1:
            near = (goal[..., :2] - cells.centres).neg(), goal[..., 2:] - cells.centres
            true = torch.cat(near, dim=-1) / cells.strides[:, None]
            focal = distribution_focal(cells.sides[at], true[at])
            total = total + SIDE_WEIGHT * (weight[at] * focal.mean(-1)).sum()
        return total / shared

    def divergence(self, maps: Maps, teacher: Maps) -> Tensor:
        """Return KL(teacher || network), in nats an object's cell, a mean over images."""
        mine, theirs = flattened(maps, 1), flattened(teacher, 1)
        classes = bernoulli_divergence(theirs.logits, mine.logits).sum((1, 2))
        if mine.sides.shape[-1] == 1:
            away = (mine.sides - theirs.sides).abs()[..., 0] / CORNER_SCALE
            each = away + torch.exp(-away) - 1
        else:
            log_q = F.log_softmax(theirs.sides, -1)
            log_p = F.log_softmax(mine.sides, -1)
            each = (log_q.exp() * (log_q - log_p)).sum(-1)
        sides = (covered_at_all(torch.sigmoid(theirs.logits), -1) * each.sum(-1)).sum(1)
        return ((classes + sides) / _objects(theirs.logits)).mean()

    def sampled_score(self, maps: Maps, draws: Generator) -> Tensor:
        """Return log p of classes and sides drawn from it, over the root of cells with objects."""
        cells = flattened(maps, 1)
        drawn, log_p = drawn_coverage(cells.logits, draws)
        if cells.sides.shape[-1] == 1:
            centre = cells.sides[..., 0]
            noise = torch.rand(centre.shape, generator=draws).to(centre.device) - 0.5
            laplace = -noise.sign() * torch.log1p(-2 * noise.abs().clamp_max(0.5 - 1e-7))
            each = -(laplace + (centre.detach() - centre) / CORNER_SCALE).abs()
        else:
            log_side = F.log_softmax(cells.sides, -1)
            noise = torch.rand(log_side.shape, generator=draws).to(log_side.device)
            gumbel = -torch.log(-torch.log(noise.clamp(1e-20, 1 - 1e-7)))
            bins = (log_side.detach() + gumbel).argmax(-1, keepdim=True)
            each = log_side.gather(-1, bins)[..., 0]
        whole = log_p.sum((1, 2)) + (drawn.amax(-1) * each.sum(-1)).sum(1)
        return whole / _objects(cells.logits.detach()).sqrt()

    @torch.no_grad()
    def assigned(self, cells: Cells, targets: Boxes) -> tuple[Tensor, Tensor, Tensor]:
        """Return what every cell is taught.

        Returns:
            (batch, cells, classes), the targets y of the scores; (batch, cells, 4), the box of the
            cell's object; (batch, cells), bool, where a region is ignored.
        """
        rows = targets.rows
        quality = torch.zeros_like(cells.logits)
        if rows.shape[1] == 0:
            boxes = cells.centres.new_zeros(*quality.shape[:2], 4)
            return quality, boxes, torch.zeros_like(quality[..., 0], dtype=torch.bool)
        inside = _inside(cells.centres, rows[..., :4])  # (batch, objects, cells)
        known = (rows[..., CLASS] >= 0) & (rows[..., IGNORED] == 0)
        ignored = (inside & ((rows[..., CLASS] >= 0) & (rows[..., IGNORED] > 0))[..., None]).any(1)
        overlap = pairwise_overlap(rows[..., :4], cells.boxes())
        kinds = rows[..., CLASS].long().clamp_min(0)
        scores = torch.sigmoid(cells.logits).transpose(1, 2)  # (batch, classes, cells)
        scores = torch.gather(scores, 1, kinds[..., None].expand(-1, -1, scores.shape[2]))
        aligned = scores**ALPHA * overlap**BETA
        allowed = inside & known[..., None]
        # A box that no centre lies in is taught at the cell nearest to its own.
        allowed |= _nearest(cells, rows[..., :4]) & (known & ~allowed.any(2))[..., None]
        # Where nothing overlaps yet, all alignments are 0: then the nearest cells are the best.
        away = _away(cells, rows[..., :4])
        rank = torch.where(allowed, aligned + 1e-9 / (1 + away), -1.0)
        best = rank.topk(min(CANDIDATES, rank.shape[2]), dim=2).indices
        chosen = torch.zeros_like(allowed).scatter_(
            2, best, torch.ones_like(best, dtype=torch.bool)
        )
        chosen &= allowed
        owner = torch.where(chosen, overlap + 1e-9 / (1 + away), -1.0).argmax(1)  # (batch, cells)
        mine = torch.zeros_like(chosen).scatter_(
            1, owner[:, None], torch.ones_like(owner, dtype=torch.bool)[:, None]
        )
        chosen &= mine
        highest = torch.where(chosen, aligned, 0.0).amax(2, keepdim=True)
        reached = torch.where(chosen, overlap, 0.0).amax(2, keepdim=True).clamp_min(1e-2)
        scaled = torch.where(chosen, (aligned / highest.clamp_min(1e-12)) * reached, 0.0)
        scaled = torch.where(chosen, scaled.clamp_min(1e-3), 0.0)
        has = chosen.any(1)
        value = scaled.gather(1, owner[:, None])[:, 0] * has
        kind = kinds.gather(1, owner)
        quality.scatter_(2, kind[..., None], value[..., None])
        boxes = rows[..., :4].gather(1, owner[..., None].expand(-1, -1, 4))
        return quality, boxes, ignored & ~has


def flattened(maps: Maps, height: int) -> Cells:
    """Return the cells of maps; strides and centres are in pixels of an image of this height."""
    logits, sides, centres, strides = [], [], [], []
    for scores, reach in zip(maps[::2], maps[1::2], strict=True):
        rows, columns = scores.shape[2:]
        stride = stride_of(height, rows) if height > 1 else 1
        logits.append(scores.flatten(2).transpose(1, 2))
        bins = reach.shape[1] // 4
        sides.append(reach.flatten(2).transpose(1, 2).reshape(len(reach), -1, 4, bins))
        y, x = torch.meshgrid(
            torch.arange(rows, device=scores.device),
            torch.arange(columns, device=scores.device),
            indexing="ij",
        )
        centres.append((torch.stack([x, y], -1).flatten(0, 1) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride), device=scores.device))
    return Cells(torch.cat(logits, 1), torch.cat(sides, 1), torch.cat(centres), torch.cat(strides))


def generalised_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised intersection over union of boxes, pair by pair: (..., 4) -> (...)."""
    common, either = _areas(first, second)
    corner = torch.minimum(first[..., :2], second[..., :2])
    opposite = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (opposite - corner).clamp_min(0).prod(-1).clamp_min(1e-9)
    return common / either - (hull - either) / hull


def pairwise_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union: (batch, n, 4), (batch, m, 4) -> (batch, n, m)."""
    common, either = _areas(first[:, :, None], second[:, None])
    return common / either


def distribution_focal(sides: Tensor, true: Tensor) -> Tensor:
    """Return the cross-entropy with the two bins about a distance, by nearness: (..., 4).

    Args:
        sides: (..., 4, bins), logits.
        true: (..., 4), distances in cells; beyond the last bin they count as it.
    """
    last = sides.shape[-1] - 1
    true = true.clamp(0, last - 1e-3)
    left = true.floor().long()
    share = true - left
    log_p = F.log_softmax(sides, -1)
    below = log_p.gather(-1, left[..., None])[..., 0]
    above = log_p.gather(-1, left[..., None] + 1)[..., 0]
    return -((1 - share) * below + share * above)


def _areas(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    corner = torch.maximum(first[..., :2], second[..., :2])
    opposite = torch.minimum(first[..., 2:], second[..., 2:])
    common = (opposite - corner).clamp_min(0).prod(-1)
    own = [(b[..., 2:] - b[..., :2]).clamp_min(0).prod(-1) for b in (first, second)]
    return common, (own[0] + own[1] - common).clamp_min(1e-9)


def _inside(centres: Tensor, boxes: Tensor) -> Tensor:
    """Return whether every centre lies in every box: (batch, objects, cells)."""
    x, y = centres.unbind(-1)
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(-1))
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _away(cells: Cells, boxes: Tensor) -> Tensor:
    """Return how far every centre is from every box's, in cells: (batch, objects, cells)."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return torch.cdist(middle, cells.centres.expand(len(boxes), -1, -1)) / cells.strides


def _nearest(cells: Cells, boxes: Tensor) -> Tensor:
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    away = torch.cdist(middle, cells.centres.expand(len(boxes), -1, -1))
    return away == away.amin(2, keepdim=True)


def _objects(logits: Tensor) -> Tensor:
    """Return how many cells of each image have an object, at least one: (batch,)."""
    return covered_at_all(torch.sigmoid(logits), -1).sum(1).clamp_min(1.0)
