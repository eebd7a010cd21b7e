"""Weights with which a substitute answers as the convolution did: least squares on responses.

A convolution answers W p + b to a patch p of its input. A substitute, taken whole, is a
convolution of the same shape with a kernel W' of some structure, so that over real images

    E |answer - answer'|^2 = tr (W - W') C (W - W')^T + |what the bias does not take up|^2

with C the covariance of the patches. W' is, for

    smaller_kernel, grouped   the regression of the answers on the entries that stay
    bottleneck                W on the leading directions of the answers' covariance W C W^T
    separable, low_rank       a product of two, from the one nearest to W downhill in both

A convolution that has the structure already is therefore given back, whatever was observed.
What is observed, and in which network, is `evaluation`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import Network
from gensynth.space.substitutes import (
    SUBSTITUTES,
    Bottleneck,
    Grouped,
    LowRank,
    Separable,
    SmallerKernel,
    Substitute,
    inner_channels,
)
from gensynth.training.patch_moments import Patches, patches

FITTED_IMAGES = 128
"""Images of real data to which weights are fitted."""

RIDGE = 1e-4
"""Share of a mean variance that every entry of a patch has in addition: few images leave
directions unseen, and there the convolution itself is the best guess."""

DESCENT_STEPS = 25


@dataclass(frozen=True)
class Fit:
    """A substitute's weights.

    Attributes:
        weights: of the chain's convolutions, in its order.
        kernel: (written, read, height, width), the one that they have together.
        bias: (written,) what keeps the answers' mean; 0 where nothing can hold it.
    """

    weights: tuple[Tensor, ...]
    kernel: Tensor
    bias: Tensor


def fit(substitute: Substitute, kernel: Tensor, read: Patches, *, centred: bool) -> Fit:
    """Return the weights of a substitute that answers most nearly as a convolution does.

    Args:
        substitute: one that may stand there.
        kernel: the convolution's, (written, read, height, width).
        read: its patches.
        centred: whether a bias or a norm behind it takes up a difference of the means.
    """
    dense = kernel.double().cpu()
    metric = read.covariance
    if not centred:
        metric = metric + torch.outer(read.mean, read.mean)
    metric = metric + RIDGE * metric.diagonal().mean() * torch.eye(len(metric), dtype=torch.double)
    match substitute:
        case SmallerKernel():
            weights, whole = _smaller(dense, metric)
        case Grouped(groups):
            weights, whole = _grouped(dense, metric, groups)
        case Bottleneck(divisor):
            weights, whole = _bottleneck(dense, metric, divisor)
        case Separable():
            weights, whole = _separable(dense, metric)
        case LowRank(divisor):
            weights, whole = _low_rank(dense, metric, divisor)
        case _:
            raise ValueError(f"no fit is known of {substitute}")
    bias = (dense - whole).flatten(1) @ read.mean * float(centred)
    return Fit(weights, whole, bias)


def fit_all(
    network: Network, images: Tensor, substitutes: Mapping[str, str], graph: Graph
) -> dict[str, Tensor]:
    """Return the tensors of a graph's substitutes, fitted to the dense network's responses.

    Args:
        network: the same network, all convolutions dense, in evaluation mode.
        images: as `patches` takes them.
        substitutes: their names by the convolution's.
        graph: with them.

    Returns:
        by state-dict key, in the dtype of the dense weights.
    """
    read = patches(network, images, substitutes)
    dense: dict[str, Tensor] = dict(network.state_dict())
    tensors: dict[str, Tensor] = {}
    for name, substitute in substitutes.items():
        conv = network.graph[name]
        weight = dense[conv.tensor_key("weight")]
        fitted = fit(
            SUBSTITUTES[substitute], weight, read[name], centred=centred(network.graph, conv)
        )
        chain = [v for v in graph.vertices if v.name == name or v.name.startswith(f"{name}.")]
        waiting = list(fitted.weights)
        for vertex in chain:
            if "weight" in vertex.tensors:
                tensors[vertex.tensor_key("weight")] = waiting.pop(0).to(weight)
            if "bias" in vertex.tensors:
                bias = dense[conv.tensor_key("bias")]
                tensors[vertex.tensor_key("bias")] = bias + fitted.bias.to(bias)
    return tensors


def centred(graph: Graph, conv: Vertex) -> bool:
    """Return whether something takes up a shift of a convolution's mean answers."""
    readers = graph.consumers[conv.name]
    normed = bool(readers) and all(graph[reader].op == "batch_norm" for reader in readers)
    return "bias" in conv.tensors or (normed and conv.name not in graph.outputs)


def _regression(dense: Tensor, metric: Tensor, stays: Tensor) -> Tensor:
    """Return the weights on the entries that stay which best do the work of all.

    W_stays + W_rest C[rest, stays] C[stays, stays]^-1

    Args:
        dense: (written, d).
        metric: C, (d, d).
        stays: (d,) bool.
    """
    rest = ~stays
    within, across = metric[stays][:, stays], metric[rest][:, stays]
    return dense[:, stays] + dense[:, rest] @ torch.linalg.solve(within, across.T).T


def _smaller(dense: Tensor, metric: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    read, height, width = dense.shape[1:]
    top, left = (1 if size > 2 else 0 for size in (height, width))
    middle = (..., slice(top, height - top), slice(left, width - left))
    stays = torch.zeros(read, height, width, dtype=torch.bool)
    stays[middle] = True
    whole = torch.zeros_like(dense)
    whole[:, stays] = _regression(dense.flatten(1), metric, stays.flatten())
    return (whole[middle].contiguous(),), whole


def _grouped(dense: Tensor, metric: Tensor, groups: int) -> tuple[tuple[Tensor, ...], Tensor]:
    written, read, height, width = dense.shape
    each_written, each_read = -(-written // groups), -(-read // groups)
    weight = dense.new_zeros(groups * each_written, each_read, height, width)
    whole = torch.zeros_like(dense)
    for group in range(groups):
        out = slice(group * each_written, min(written, (group + 1) * each_written))
        first, last = group * each_read, min(read, (group + 1) * each_read)
        if out.start >= out.stop or first >= last:
            continue  # nothing but channels that fill up
        stays = torch.zeros(read, height, width, dtype=torch.bool)
        stays[first:last] = True
        found = _regression(dense[out].flatten(1), metric, stays.flatten())
        own = found.reshape(-1, last - first, height, width)
        weight[out, : last - first] = own
        whole[out, first:last] = own
    return (weight,), whole


def _bottleneck(dense: Tensor, metric: Tensor, divisor: int) -> tuple[tuple[Tensor, ...], Tensor]:
    rank = inner_channels(dense.shape[1], dense.shape[0], divisor)
    flat = dense.flatten(1)
    leading = torch.linalg.eigh(flat @ metric @ flat.T).eigenvectors[:, -rank:]
    reduce = (leading.T @ flat).reshape(rank, *dense.shape[1:])
    whole = torch.einsum("or,riab->oiab", leading, reduce)
    return (reduce, leading[:, :, None, None]), whole


def _separable(dense: Tensor, metric: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    u, s, v = torch.linalg.svd(dense.transpose(0, 1).flatten(2), full_matrices=False)
    each = v[:, 0].reshape(dense.shape[1:])  # (read, height, width)
    mixed = (u[:, :, 0] * s[:, :1]).T  # (written, read)
    mixed, each = _product("oi,iab->oiab", mixed, each, dense, metric)
    whole = torch.einsum("oi,iab->oiab", mixed, each)
    return (each[:, None], mixed[:, :, None, None]), whole


def _low_rank(dense: Tensor, metric: Tensor, divisor: int) -> tuple[tuple[Tensor, ...], Tensor]:
    written, read, height, width = dense.shape
    rank = inner_channels(read, written, divisor)
    matrix = dense.permute(1, 2, 0, 3).reshape(read * height, written * width)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    down = (u[:, :rank] * root).T.reshape(rank, read, height)
    along = (root[:, None] * v[:rank]).reshape(rank, written, width).transpose(0, 1)
    along, down = _product("orb,ria->oiab", along, down, dense, metric)
    whole = torch.einsum("orb,ria->oiab", along, down)
    return (down[:, :, :, None], along[:, :, None, :]), whole


@torch.enable_grad()
def _product(
    rule: str, last: Tensor, first: Tensor, dense: Tensor, metric: Tensor
) -> tuple[Tensor, Tensor]:
    """Return two factors whose product does best, downhill from two that are given."""
    factors = [part.contiguous().clone().requires_grad_() for part in (last, first)]
    flat = dense.flatten(1)
    scale = (flat @ metric * flat).sum().clamp_min(torch.finfo(torch.double).tiny)
    optimizer = torch.optim.LBFGS(
        factors, max_iter=DESCENT_STEPS, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=1e-9, tolerance_change=1e-12,
    )  # fmt: skip

    def lost() -> Tensor:
        optimizer.zero_grad()
        left = flat - torch.einsum(rule, *factors).flatten(1)
        share = ((left @ metric) * left).sum() / scale
        share.backward()  # type: ignore[no-untyped-call]
        return share

    optimizer.step(lost)  # type: ignore[no-untyped-call]
    return factors[0].detach(), factors[1].detach()
