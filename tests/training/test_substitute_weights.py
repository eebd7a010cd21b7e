"""Weights of substitutes, against least squares done on the responses themselves."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.graph.graph import Graph
from gensynth.network.module import build
from gensynth.space.placement import substitute
from gensynth.space.substitutes import SUBSTITUTES, inner_channels
from gensynth.trace import trace
from gensynth.training.patch_moments import Patches, patches
from gensynth.training.substitute_weights import RIDGE, centred, fit, fit_all

READ, WRITTEN = 8, 12


def structured(word: str, generator: torch.Generator, area: tuple[int, int] = (3, 3)) -> Tensor:
    """Return a dense kernel that is an operator's by the operator's definition."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.double)

    height, width = area
    kind, _, number = word.rpartition("_")
    inner = inner_channels(READ, WRITTEN, int(number)) if number.isdigit() else 0
    match kind or word:
        case "separable":
            return torch.einsum("oi,iab->oiab", normal(WRITTEN, READ), normal(READ, *area))
        case "low_rank":
            down, along = normal(inner, READ, height), normal(WRITTEN, inner, width)
            return torch.einsum("ria,orb->oiab", down, along)
        case "bottleneck":
            return torch.einsum("riab,or->oiab", normal(inner, READ, *area), normal(WRITTEN, inner))
        case "smaller":
            return F.pad(normal(WRITTEN, READ, height - 2, width - 2), (1, 1, 1, 1))
        case "grouped":
            groups = int(number)
            blocks = [normal(WRITTEN // groups, READ // groups, *area) for _ in range(groups)]
            dense = torch.zeros(WRITTEN, READ, *area, dtype=torch.double)
            for group, block in enumerate(blocks):
                out, read = block.shape[:2]
                dense[group * out : (group + 1) * out, group * read : (group + 1) * read] = block
            return dense
    raise AssertionError(word)


def images(seed: int, count: int = 40, channels: int = READ) -> Tensor:
    """Return images whose channels and neighbouring places go together, as real ones do."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, 12, 12, generator=generator)
    mixed = torch.einsum(
        "nchw,cd->ndhw", noise, torch.randn(channels, channels, generator=generator)
    )
    return F.avg_pool2d(mixed, 3, 1, 1) + 0.3 * noise + 0.5


def one_conv(**options: Any) -> nn.Sequential:
    settings = {"kernel_size": 3, "padding": 1, **options}
    return nn.Sequential(nn.Conv2d(READ, WRITTEN, **settings))


def first(module: nn.Sequential) -> nn.Conv2d:
    assert isinstance(module[0], nn.Conv2d)
    return module[0]


def graph_of(module: nn.Module) -> Graph:
    return trace(module, torch.zeros(1, READ, 12, 12), name="one")


def fitted(module: nn.Module, word: str, seen: Tensor) -> Any:
    """Return the network of a module whose first convolution is substituted."""
    graph = graph_of(module)
    weights = {key: value.detach() for key, value in module.state_dict().items()}
    other = substitute(graph, {"0": word})
    dense = build(graph, weights).eval()
    return build(other, {**weights, **fit_all(dense, seen, {"0": word}, other)}).eval()


STRIDES = [(word, 1) for word in SUBSTITUTES]
STRIDES += [(word, 2) for word in SUBSTITUTES if not word.startswith("low_rank")]


@pytest.mark.parametrize(("word", "stride"), STRIDES)
def test_a_convolution_that_is_one_already_is_given_back(word: str, stride: int) -> None:
    module = one_conv(stride=stride)
    kernel = structured(word, torch.Generator().manual_seed(1))
    first(module).weight.data = kernel.float()
    network = fitted(module, word, images(0))
    unseen = images(1)
    with torch.no_grad():
        answers = module(unseen)
        difference = (network(unseen) - answers).abs().max() / answers.abs().max()
    assert difference < 1e-6


@pytest.mark.parametrize("read", [5, 8])
def test_groups_that_do_not_divide_are_given_back_too(read: int) -> None:
    # By definition: group g of 4 reads and writes the g-th ceil(n / 4) channels, if there are.
    module = nn.Sequential(nn.Conv2d(read, 10, 3, padding=1))
    mask = torch.zeros(10, read, 1, 1)
    for group in range(4):
        each = math.ceil(read / 4)
        mask[3 * group : 3 * group + 3, each * group : each * group + each] = 1
    first(module).weight.data *= mask
    graph = trace(module, torch.zeros(1, read, 12, 12), name="one")
    other = substitute(graph, {"0": "grouped_4"})
    weights = {key: value.detach() for key, value in module.state_dict().items()}
    seen = images(0, channels=read)
    dense = build(graph, weights).eval()
    network = build(other, {**weights, **fit_all(dense, seen, {"0": "grouped_4"}, other)})
    with torch.no_grad():
        assert (network(seen) - module(seen)).abs().max() < 1e-5


def responses(kernel: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the patches, and a convolution's answers, of which the mean is taken off."""
    rows = F.unfold(seen.double(), 3, padding=1).transpose(1, 2).flatten(0, 1)
    rows = rows - rows.mean(0)
    return rows, rows @ kernel.double().flatten(1).T


def exact(seen: Tensor) -> Patches:
    """Return the moments of all patches, by another way than `patches`."""
    rows = F.unfold(seen.double(), 3, padding=1).transpose(1, 2).flatten(0, 1)
    return Patches(rows.mean(0), torch.cov(rows.T, correction=0))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("grouped_2", [(range(6), range(4), 9), (range(6, 12), range(4, 8), 9)]),
        ("smaller_kernel", [(range(12), range(8), 1)]),
    ],
)
def test_what_is_cut_away_is_regressed_on_the_rest(
    word: str, parts: list[tuple[range, range, int]]
) -> None:
    # torch.linalg.lstsq on the responses; the ridge moves the answer by about its own size.
    seen = images(2)
    kernel = torch.randn(WRITTEN, READ, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    found = fit(SUBSTITUTES[word], kernel, exact(seen), centred=True)
    rows, answers = responses(kernel, seen)
    best = torch.zeros_like(answers)
    for out, read, taps in parts:
        places = [9 * c + t for c in read for t in (range(9) if taps == 9 else [4])]
        solution = torch.linalg.lstsq(rows[:, places], answers[:, list(out)]).solution
        best[:, list(out)] = rows[:, places] @ solution
    ours = rows @ found.kernel.flatten(1).T
    least = (answers - best).square().sum()
    assert (answers - ours).square().sum() == pytest.approx(float(least), rel=20 * RIDGE)
    cut = (answers - rows @ (kernel * (found.kernel != 0)).flatten(1).T).square().sum()
    assert cut > 1.1 * least  # cutting alone would not do


@pytest.mark.parametrize("word", ["bottleneck_2", "bottleneck_4"])
def test_a_bottleneck_loses_what_no_rank_can_keep(word: str) -> None:
    # Eckart and Young: the squares of the answers' singular values behind the rank.
    seen = images(4)
    kernel = torch.randn(WRITTEN, READ, 3, 3, generator=torch.Generator().manual_seed(5)).double()
    found = fit(SUBSTITUTES[word], kernel, exact(seen), centred=True)
    rows, answers = responses(kernel, seen)
    left = torch.linalg.svdvals(answers)[inner_channels(READ, WRITTEN, int(word[-1])) :]
    lost = (answers - rows @ found.kernel.flatten(1).T).square().sum()
    assert lost == pytest.approx(float(left.square().sum()), rel=20 * RIDGE)


@pytest.mark.parametrize("word", ["separable", "low_rank_2", "low_rank_4"])
def test_what_only_the_images_make_separable_is_found_too(word: str) -> None:
    # Images of three dimensions leave much of a kernel unseen: add a part to a separable
    # kernel that they never excite, and the answers are still those of a separable one.
    generator = torch.Generator().manual_seed(6)
    kernel = structured(word, generator)
    seen_directions = torch.randn(3, READ * 9, generator=generator, dtype=torch.double)
    basis = torch.linalg.qr(seen_directions.T).Q  # (d, 3)
    unseen = torch.randn(WRITTEN, READ * 9, generator=generator, dtype=torch.double)
    unseen -= unseen @ basis @ basis.T
    other = kernel + 3 * unseen.reshape(kernel.shape)
    read = Patches(torch.zeros(READ * 9, dtype=torch.double), basis @ basis.T)
    found = fit(SUBSTITUTES[word], other, read, centred=True)
    nearest = fit(  # without images: the nearest in all directions
        SUBSTITUTES[word], other, Patches(read.mean, torch.eye(READ * 9).double()), centred=True
    )

    def lost(whole: Tensor) -> float:
        left = (other - whole).flatten(1) @ basis
        return float(left.square().sum() / (other.flatten(1) @ basis).square().sum())

    assert lost(found.kernel) < 0.05  # a few steps from far away, and the ridge
    assert lost(found.kernel) < 0.1 * lost(nearest.kernel)


@pytest.mark.parametrize("word", SUBSTITUTES)
def test_a_chain_s_weights_have_together_the_kernel_that_is_said(word: str) -> None:
    module = one_conv()
    network = fitted(module, word, images(0))
    graph = graph_of(module)
    dense = build(graph, module.state_dict()).eval()
    read = patches(dense, images(0), ["0"])["0"]
    found = fit(SUBSTITUTES[word], first(module).weight.detach(), read, centred=True)
    offset = first(module).bias
    assert offset is not None
    bias = offset.detach() + found.bias
    with torch.no_grad():
        expected = F.conv2d(images(7), found.kernel.float(), bias.float(), padding=1)
        assert (network(images(7)) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("word", SUBSTITUTES)
def test_a_bias_keeps_the_mean_answer(word: str) -> None:
    module, seen = one_conv(padding_mode="zeros"), images(8, count=32)
    network = fitted(module, word, seen)
    with torch.no_grad():
        before, after = module(seen).mean((0, 2, 3)), network(seen).mean((0, 2, 3))
    assert (before - after).abs().max() < 1e-3 * before.abs().max()


def test_a_mean_is_left_alone_where_nothing_takes_it_up() -> None:
    free = nn.Sequential(nn.Conv2d(READ, WRITTEN, 3, bias=False), nn.ReLU())
    biased = nn.Sequential(nn.Conv2d(READ, WRITTEN, 3), nn.ReLU())
    normed = nn.Sequential(nn.Conv2d(READ, WRITTEN, 3, bias=False), nn.BatchNorm2d(WRITTEN))
    graphs = [graph_of(module) for module in (free, biased, normed)]
    assert [centred(graph, graph["0"]) for graph in graphs] == [False, True, True]
    kernel = torch.randn(WRITTEN, READ, 3, 3, generator=torch.Generator().manual_seed(9))
    read = exact(images(10) + 2)
    with_mean = fit(SUBSTITUTES["smaller_kernel"], kernel, read, centred=False)
    assert with_mean.bias.abs().max() == 0
    without = fit(SUBSTITUTES["smaller_kernel"], kernel, read, centred=True)
    rows = F.unfold(images(10).double() + 2, 3, padding=1).transpose(1, 2).flatten(0, 1)
    lost = [
        (rows @ (kernel.double() - found.kernel).flatten(1).T).square().sum()
        for found in (with_mean, without)
    ]
    assert lost[0] < lost[1]  # without its bias, the centred fit misses the mean


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2, "padding": 2}])
def test_patches_are_what_a_convolution_reads(options: dict[str, int]) -> None:
    # By the convolution itself: answers to many random kernels have the said mean and variance.
    module = one_conv(bias=False, **options)
    seen = images(11, count=4)
    read = patches(build(graph_of(module), module.state_dict()).eval(), seen, ["0"])["0"]
    with torch.no_grad():
        answers = module(seen).transpose(0, 1).flatten(1).double()
    flat = first(module).weight.detach().double().flatten(1)
    assert flat @ read.mean == pytest.approx(answers.mean(1), rel=1e-3, abs=1e-4)
    variance = ((flat @ read.covariance) * flat).sum(1)
    assert variance == pytest.approx(answers.var(1, correction=0), rel=1e-3)
