"""DetectNet's answer on a grid: how sure every cell is that it shows an object, and where it ends.

A network gives coverage logits (batch, classes, rows, columns), and corners (batch, 4, rows,
columns) as offsets from the cell's centre in cells (Tao et al., "DetectNet: Deep neural network for
object detection in DIGITS", 2016). An object covers the cells whose centre lies in the middle
`SHRUNK` of its box, and at least `LEAST_COVERED` pixels of it; and the cell of its centre.
Where objects overlap, the smaller has the cell.

    loss    sum over cells of w (p - covered)^2 / 2
            + sum over covered cells of BOX_WEIGHT |corner - true corner|

p being the share of the logit, and w COVERED_WEIGHT where a cell is covered, 1 elsewhere. In DIGITS
w is 1 everywhere, and the weights know images already. A network that begins from nothing would
learn nothing by it: few of hundreds of cells are covered, so until it can tell them apart p is best
near 0, and there a sigmoid has no slope left to learn by.

Distributions: the classes of a cell are covered or not, each by itself (Bernoulli); the corners of
a covered cell are Laplace about the network's, of scale `CORNER_SCALE`. With q_c of the teacher,
p_c of the network, d the distance of their corners and b the scale

    KL = sum over cells [ sum_c KL(q_c || p_c) + Q sum_corners (d/b + exp(-d/b) - 1) ]

where Q = 1 - prod_c (1 - q_c) is the chance that the cell is covered at all.

All sums over cells are divided by the number of cells that are covered (that the teacher thinks are
covered; one at least), so that they compare between images of any size and number of objects.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gensynth.data.boxes import NOBODY, Boxes
from gensynth.tasks.boxes import stride_of

SHRUNK = 0.4
LEAST_COVERED = 20.0
COVERED_WEIGHT = 20.0
BOX_WEIGHT = 1.0
CORNER_SCALE = 0.5
"""In cells: eight pixels of a stride of 16."""

Maps = tuple[Tensor, ...]


class Grid:
    """One pair of maps: coverage and corners."""

    kind = "grid"
    overlap = 0.5
    """From which cells speak of one object."""

    def loss(self, maps: Maps, targets: Boxes) -> Tensor:
        """Return DetectNet's loss, a mean over images."""
        logits, corners = maps
        covered, ignored, true = self.assigned(logits, targets)
        at = covered.amax(1)  # (batch, rows, columns)
        weights = (1 + (COVERED_WEIGHT - 1) * covered) * ~ignored[:, None]
        squares = weights * (torch.sigmoid(logits) - covered).square() / 2
        away = (corners - true).abs().sum(1) * at
        return (squares.sum() + BOX_WEIGHT * away.sum()) / _cells(at).sum()

    def divergence(self, maps: Maps, teacher: Maps) -> Tensor:
        """Return KL(teacher || network), in nats a covered cell, a mean over images."""
        (logits, corners), (others, true) = maps, teacher
        q = torch.sigmoid(others)
        coverage = bernoulli_divergence(others, logits).sum((1, 2, 3))
        away = (corners - true).abs() / CORNER_SCALE
        any_of = covered_at_all(q, 1)
        ends = (any_of[:, None] * (away + torch.exp(-away) - 1)).sum((1, 2, 3))
        return ((coverage + ends) / _cells(any_of)).mean()

    def sampled_score(self, maps: Maps, draws: Generator) -> Tensor:
        """Return log p of coverage and corners drawn from it, over the root of covered cells."""
        logits, corners = maps
        covered, log_p = drawn_coverage(logits, draws)
        noise = torch.rand(corners.shape, generator=draws).to(corners.device) - 0.5
        laplace = -noise.sign() * torch.log1p(-2 * noise.abs().clamp_max(0.5 - 1e-7))
        ends = -(laplace.detach() + (corners.detach() - corners) / CORNER_SCALE).abs()
        whole = log_p.sum((1, 2, 3)) + (ends.sum(1) * covered.amax(1)).sum((1, 2))
        return whole / _cells(covered_at_all(torch.sigmoid(logits.detach()), 1)).sqrt()

    def assigned(self, logits: Tensor, targets: Boxes) -> tuple[Tensor, Tensor, Tensor]:
        """Return which cells of which class are covered, which are ignored, and the true corners.

        Returns:
            (batch, classes, rows, columns) of 0 and 1; (batch, rows, columns), bool; (batch, 4,
            rows, columns).
        """
        if targets.rows.shape[1] == 0:  # nothing in any image of the batch
            nobody = targets.rows.new_tensor([0, 0, 0, 0, NOBODY, 0]).expand(len(logits), 1, 6)
            targets = replace(targets, rows=nobody)
        batch, classes, rows, columns = logits.shape
        device = logits.device
        stride = stride_of(targets.height, rows)
        owner, ignored = owners(targets, rows, columns, stride, device)
        found = owner >= 0
        own = torch.gather(
            targets.rows, 1, owner.clamp_min(0).flatten(1)[..., None].expand(-1, -1, 6)
        )
        own = own.reshape(batch, rows, columns, 6)
        kinds = own[..., 4].long().clamp_min(0)
        covered = F.one_hot(kinds, max(classes, int(kinds.max()) + 1)).permute(0, 3, 1, 2)
        covered = covered[:, :classes].to(logits.dtype) * found[:, None]
        x = (torch.arange(columns, device=device) + 0.5) * stride
        y = (torch.arange(rows, device=device) + 0.5) * stride
        centres = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)] * 2)
        true = (own[..., :4].permute(0, 3, 1, 2) - centres) / stride
        return covered, ignored & ~found, true


def owners(
    targets: Boxes, rows: int, columns: int, stride: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the object that covers each cell, -1 for none, and whether a region is ignored there.

    Returns:
        (batch, rows, columns), int64, and bool.
    """
    boxes = targets.rows
    if boxes.shape[1] == 0:
        nobody = torch.full((len(boxes), rows, columns), -1, device=device)
        return nobody, torch.zeros_like(nobody, dtype=torch.bool)
    left, top, right, bottom, kind, ignored = (v[..., None, None] for v in boxes.unbind(2))
    x = ((torch.arange(columns, device=device) + 0.5) * stride)[None, :]
    y = ((torch.arange(rows, device=device) + 0.5) * stride)[:, None]

    def within(centre: Tensor, size: Tensor, at: Tensor) -> Tensor:
        reach = torch.maximum(SHRUNK * size, size.clamp_max(LEAST_COVERED)) / 2
        return (at - centre).abs() <= torch.maximum(reach, torch.full_like(reach, stride / 2))

    middle = within((left + right) / 2, right - left, x)
    middle = middle & within((top + bottom) / 2, bottom - top, y)
    teaches = (kind >= 0) & (ignored == 0)
    areas = (right - left) * (bottom - top)
    areas = torch.where(middle & teaches, areas, torch.inf)
    least, owner = areas.min(1)
    shown = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return torch.where(least < torch.inf, owner, -1), (shown & (kind >= 0) & (ignored > 0)).any(1)


def covered_at_all(shares: Tensor, dimension: int) -> Tensor:
    """Return the chance that at least one class of a cell is covered."""
    return 1 - (1 - shares).prod(dimension)


def bernoulli_divergence(teacher: Tensor, logits: Tensor) -> Tensor:
    """Return KL(teacher || network) of every logit's share, in nats."""
    q = torch.sigmoid(teacher)
    return q * (F.logsigmoid(teacher) - F.logsigmoid(logits)) + (1 - q) * (
        F.logsigmoid(-teacher) - F.logsigmoid(-logits)
    )


def drawn_coverage(logits: Tensor, draws: Generator) -> tuple[Tensor, Tensor]:
    """Return 0 or 1 drawn at every logit by its share, and the log of the chance of what came."""
    chances = torch.rand(logits.shape, generator=draws).to(logits.device)
    drawn = (chances < torch.sigmoid(logits.detach())).to(logits.dtype)
    return drawn, F.logsigmoid(torch.where(drawn > 0, logits, -logits))


def _cells(shares: Tensor) -> Tensor:
    """Return how many cells of each image are covered, at least one: (batch,)."""
    return shares.sum((1, 2)).clamp_min(1.0)
