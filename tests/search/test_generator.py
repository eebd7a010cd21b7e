"""The generator's promises: costs that hold for every seed, and the same bytes everywhere."""

import dataclasses
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensynth.errors import UnreachableError
from gensynth.search.generator import Generator
from gensynth.search.theta import Theta
from gensynth.space.bilinear_cost import NAMES
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from tests.networks.compositions import compose
from tests.search.spaces import RESNETS, counted, limits_of, space_of, theta_of

SHARES = st.one_of(st.none(), st.floats(0, 1))


@settings(max_examples=30)
@given(
    st.sampled_from(["resnet8", "dense", "bottleneck", "squeeze_excite", "unet", "dual_path"]),
    SHARES,
    SHARES,
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 4]),
)
def test_every_seed_meets_every_cost_requirement(
    name: str, macs: float | None, params: float | None, seed: int, align: int
) -> None:
    space = space_of(name, align)
    limits = limits_of(space, macs, params)
    generator = Generator(space, theta_of(space, seed % 5), limits)
    costs = counted(generator.generate(seed))
    assert all(costs[limited] <= limit for limited, limit in limits.items())


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_so_does_every_seed_of_a_prototype_composed_at_random(
    seed: int, macs: float, params: float
) -> None:
    space = Space(couple(compose(seed)))
    if not len(space.sizes):
        return
    limits = limits_of(space, macs, params)
    generator = Generator(space, theta_of(space), limits)
    costs = counted(generator.generate(seed))
    assert all(costs[limited] <= limit for limited, limit in limits.items())


def test_limits_at_the_smallest_network_give_the_smallest_network() -> None:
    space = space_of("resnet8")
    generator = Generator(space, theta_of(space), limits_of(space, 0.0, 0.0))
    points = generator.points(range(5))
    assert space.costs(points).tolist() == [space.costs(space.smallest())[0].tolist()] * 5


def test_nothing_to_save_gives_the_prototype() -> None:
    space = space_of("resnet8")
    graph = Generator(space, theta_of(space)).generate(3)
    assert graph == space.coupling.graph


def test_limits_that_the_prototype_just_meets_take_nothing_from_it() -> None:
    space = space_of("resnet8")
    limits = dict(zip(NAMES, space.prototype.tolist(), strict=True))
    space.check_reachable(limits)
    assert Generator(space, theta_of(space), limits).generate(3) == space.coupling.graph
    limits["macs"] -= 1
    assert Generator(space, theta_of(space), limits).generate(3) != space.coupling.graph


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_below_the_smallest_network_is_unreachable(name: str) -> None:
    space = space_of("resnet8")
    floor = space.costs(space.smallest())[0][NAMES.index(name)]
    Generator(space, theta_of(space), {name: floor})
    with pytest.raises(UnreachableError, match=f"no network of this prototype has {name} <= "):
        Generator(space, theta_of(space), {name: floor - 1})


def test_the_cost_drawn_by_a_seed_is_met_and_used() -> None:
    # A quarter of the prototype, in the geometric mean of parameters and MACs, for every
    # seed; what is left over would not pay for one step more.
    space = space_of("resnet20")
    generator = Generator(space, theta_of(space, budget=(float(np.log(0.25)), 0.0)))
    mean = np.exp(np.log(space.costs(generator.points(range(20))) / space.prototype).mean(axis=1))
    assert (mean <= 0.25).all()
    assert (mean > 0.24).all()


def test_nothing_that_still_fits_is_left_out() -> None:
    space = space_of("resnet8")
    limits = limits_of(space, 0.3, 0.4)
    points = Generator(space, theta_of(space), limits).points(range(10))
    bounds = np.array([limits[name] for name in NAMES])
    for index in range(10):
        for group in np.flatnonzero(space.living(points)[index]):
            widths = points.widths[index : index + 1].copy()
            widths[0, group] += 1
            wider = space.costs(Points(widths, points.kept_blocks[index : index + 1]))[0]
            assert widths[0, group] > space.sizes[group] or (wider > bounds).any()


def test_a_wider_limit_costs_no_gain() -> None:
    # Gains by the documented formula, not from the generator.
    space = space_of("resnet20", 2)
    theta = untilted(space)
    best = []
    for share in np.linspace(0.05, 1.0, 20):
        generator = Generator(space, theta, limits_of(space, float(share), None))
        points = generator.points([0])
        best.append(documented_gain(space, theta, points))
    assert all(b > a for a, b in itertools.pairwise(best))


def documented_gain(space: Space, theta: Theta, points: Points) -> float:
    """Return sum_g f_g(k_g) and the blocks' gains, of a seed that tilts nothing."""
    total = float(np.exp(theta.block)[points.kept_blocks[0]].sum())
    for g in np.flatnonzero(space.living(points)[0]):
        rank = np.arange(1, space.sizes[g] + 1)
        steps = np.exp(theta.sharpness * -np.sort(-theta.u[g]))
        steps *= (space.sizes[g] / rank) ** theta.curvature
        total += float(steps[: points.widths[0, g]].sum())
    return total


def untilted(space: Space) -> Theta:
    """Return parameters under which every seed tilts nothing."""
    theta = theta_of(space)
    return dataclasses.replace(theta, directions=np.zeros_like(theta.directions))


def test_a_group_that_is_worth_more_is_wider() -> None:
    space = space_of("inception")
    theta, limits = untilted(space), limits_of(space, 0.3, None)
    before = Generator(space, theta, limits).points([0]).widths[0]
    wider = []
    for group in np.flatnonzero(before < space.sizes):
        offset = theta.offset.copy()
        offset[group] += 4.0
        richer = dataclasses.replace(theta, offset=offset)
        after = Generator(space, richer, limits).points([0]).widths[0]
        wider.append(after[group] - before[group])
    assert min(wider) >= 0
    assert np.median(wider) > 0  # not all: a channel of the stem alone may not fit


def test_the_most_salient_channels_are_kept() -> None:
    space = space_of("resnet8")
    theta = theta_of(space)
    spread = tuple(np.linspace(0, -10, size) for size in space.sizes)  # far beyond a seed's noise
    generator = Generator(space, dataclasses.replace(theta, u=spread), limits_of(space, 0.3, None))
    for seed in range(5):
        kept = generator.generate(seed).selection.kept
        assert kept
        assert all(channels == tuple(range(len(channels))) for channels in kept.values())


def test_seeds_give_different_networks() -> None:
    # The promise to the user: all distinct, median distance of relative widths >= 0.05.
    space = space_of("resnet20", 2)
    generator = Generator(space, theta_of(space), limits_of(space, 0.3, 0.3))
    points = generator.points(range(50))
    assert len({generator.graph(points, i, i).to_json() for i in range(50)}) == 50
    relative = space.relative(points)
    distances = [
        float(np.abs(relative[i] - relative[j]).mean())
        for i, j in itertools.combinations(range(50), 2)
    ]
    assert np.median(distances) >= 0.05


def test_many_seeds_at_once_are_each_seed_alone() -> None:
    space = space_of("resnet20", 2)
    budget = (float(np.log(0.4)), 0.2)
    generator = Generator(space, theta_of(space, budget=budget), limits_of(space, 0.4, 0.3))
    together = generator.points(range(12))
    for seed in range(12):
        alone = generator.points([seed])
        assert alone.widths[0].tolist() == together.widths[seed].tolist()
        assert alone.kept_blocks[0].tolist() == together.kept_blocks[seed].tolist()


def test_parameters_of_each_network_are_its_own() -> None:
    space = space_of("resnet8")
    thetas = [theta_of(space, seed) for seed in range(3)]
    limits = limits_of(space, 0.3, None)
    mixed = Generator(space, thetas[0], limits).points_of(thetas, [5, 5, 5])
    for index, theta in enumerate(thetas):
        alone = Generator(space, theta, limits).points([5])
        assert alone.widths[0].tolist() == mixed.widths[index].tolist()


@given(st.integers(0, 2**31), st.integers(0, 100))
@settings(max_examples=10)
def test_a_generator_read_from_its_text_gives_the_same_graphs(seed: int, draw: int) -> None:
    # Saliency as an inquisitor gives it, in full precision and with near ties.
    space = space_of("resnet8")
    random = np.random.default_rng(draw)
    u = tuple(random.normal(-4, 1e-2, size) for size in space.sizes)
    theta = dataclasses.replace(theta_of(space), u=u)
    generator = Generator(space, theta, limits_of(space, 0.3, 0.5))
    again = Generator.from_json(generator.to_json(), space)
    assert again.to_json() == generator.to_json()
    assert again.generate(seed).to_json() == generator.generate(seed).to_json()


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    space = space_of("resnet8")
    generator = Generator(space, theta_of(space), limits_of(space, 0.3, 0.5))
    (tmp_path / "prototype.json").write_text(space.coupling.graph.to_json())
    (tmp_path / "generator.json").write_text(generator.to_json())
    code = """
import sys
from pathlib import Path
from gensynth.space.coupling import couple
from gensynth.search.generator import Generator
from gensynth.graph.graph import Graph
from gensynth.space.space import Space

folder = Path(sys.argv[1])
space = Space(couple(Graph.from_json((folder / "prototype.json").read_text())))
generator = Generator.from_json((folder / "generator.json").read_text(), space)
assert "torch" not in sys.modules
for seed in (0, 7, 2**31):
    sys.stdout.write(generator.generate(seed).to_json())
"""
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert found.stdout == "".join(generator.generate(s).to_json() for s in (0, 7, 2**31))


def test_a_generator_of_another_prototype_is_refused() -> None:
    space = space_of("resnet8")
    text = Generator(space, theta_of(space)).to_json()
    with pytest.raises(ValueError, match="learned for another prototype"):
        Generator.from_json(text, space_of("dense"))
    with pytest.raises(ValueError, match="format 7"):
        Generator.from_json(text.replace('"format": 1', '"format": 7'), space)


def test_the_searched_vector_reads_back() -> None:
    theta = theta_of(space_of("resnet8"), budget=(-1.0, 0.1))
    moved = theta.with_vector(theta.vector() + 0.25)
    assert moved.vector().tolist() == (theta.vector() + 0.25).tolist()
    assert moved.budget == (-0.75, 0.1)
    assert theta.with_vector(theta.vector() + 100).budget[0] == 0.0  # never dearer than phi


def test_a_prototype_without_a_free_width_gives_its_blocks_or_itself() -> None:
    space = space_of("norms")
    assert len(space.sizes) == 0
    assert len(space.coupling.blocks) == 1
    generator = Generator(space, theta_of(space), {"macs": float(space.prototype[0] - 1)})
    assert generator.generate(1).selection.removed == (space.coupling.blocks[0].name,)


@pytest.mark.realtime
@pytest.mark.slow
def test_256_seeds_of_resnet56_are_drawn_in_less_than_twenty_steps_of_its_training() -> None:
    space = space_of("resnet56", 2)
    generator = Generator(space, theta_of(space), limits_of(space, 0.3, 0.3))
    network, images = RESNETS["resnet56"](), torch.zeros(64, 3, 32, 32)

    def cpu_s(work: Callable[[], object]) -> float:
        start_s = time.process_time()  # others may use this machine too
        work()
        return time.process_time() - start_s

    step_s = min(cpu_s(lambda: network(images).sum().backward()) for _ in range(2))
    assert cpu_s(lambda: generator.points(range(256))) < 20 * step_s
