"""Generators that choose substitutes too: the promises of `generator` hold with them."""

import dataclasses
import functools
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gensynth.goals.score import Proportion
from gensynth.network.module import build
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import FULL, SHORT, Inquisitor, Observation
from gensynth.space.bilinear_cost import NAMES
from gensynth.space.coupling import couple
from gensynth.space.placement import CHOICES
from gensynth.space.points import Points
from gensynth.space.space import Space
from tests.networks.compositions import compose, random_weights
from tests.search import planted
from tests.search.spaces import counted, limits_of, space_of, theta_of


@functools.cache
def free_space(name: str, align: int = 1, words: tuple[str, ...] = CHOICES) -> Space:
    return Space(space_of(name).coupling, align, words)


SHARES = st.one_of(st.none(), st.floats(0, 1))


@settings(max_examples=40)
@given(
    st.sampled_from(["resnet8", "dense", "bottleneck", "inception", "unet", "dual_path"]),
    SHARES,
    SHARES,
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([-5.0, 0.0, 3.0]),
)
def test_every_seed_meets_every_cost_requirement(
    name: str, macs: float | None, params: float | None, seed: int, align: int, loss: float
) -> None:
    space = free_space(name, align)
    limits = limits_of(space, macs, params)
    generator = Generator(space, theta_of(space, seed % 5, loss=loss), limits)
    costs = counted(generator.generate(seed))
    assert all(costs[limited] <= limit for limited, limit in limits.items())


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_so_does_every_seed_of_a_prototype_composed_at_random(
    seed: int, macs: float, params: float
) -> None:
    space = Space(couple(compose(seed)), substitutes=CHOICES)
    if not len(space.sizes):
        return
    limits = limits_of(space, macs, params)
    generator = Generator(space, theta_of(space), limits)
    costs = counted(generator.generate(seed))
    assert all(costs[limited] <= limit for limited, limit in limits.items())


@pytest.mark.parametrize("name", ["resnet8", "inception", "bottleneck"])
@pytest.mark.parametrize("limited", NAMES)
def test_the_smallest_network_is_reached_past_widths_that_save_nothing(
    name: str, limited: str
) -> None:
    # Groups cost the same at several widths, and one limit alone does not see the rest.
    space = free_space(name)
    floor = space.costs(space.smallest())[0][NAMES.index(limited)]
    generator = Generator(space, theta_of(space, loss=-8), {limited: float(floor)})
    points = generator.points(range(10))
    assert space.costs(points)[:, NAMES.index(limited)].tolist() == [floor] * 10


def test_with_nothing_to_save_every_convolution_stays_dense_bit_for_bit() -> None:
    space = free_space("resnet8")
    graph = Generator(space, theta_of(space)).generate(3)
    assert graph.to_json() == space.coupling.graph.to_json()
    weights = random_weights(space.coupling.graph, 0)
    images = torch.randn(2, 3, 32, 32, dtype=torch.double)
    networks = [build(one, weights).eval() for one in (graph, space.coupling.graph)]
    with torch.no_grad():
        assert torch.equal(networks[0](images), networks[1](images))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet8", "1469b7e40413efd9"),
        ("dense", "04f22d7bb676f551"),
        ("unet", "ad757b1d6985679d"),
    ],
)
def test_without_substitutes_generators_and_graphs_are_those_of_before(
    name: str, digest: str
) -> None:
    # Recorded at commit 097c522, before there were substitutes.
    space = space_of(name)
    theta = theta_of(space, budget=(-1.0, 0.1))
    generator = Generator(space, theta, limits_of(space, 0.3, 0.5))
    text = hashlib.sha256(generator.to_json().encode())
    for seed in range(20):
        text.update(generator.generate(seed).to_json().encode())
    assert text.hexdigest()[:16] == digest


def test_without_substitutes_an_inquisitor_is_that_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Recorded at commit 097c522, before there were substitutes, with the priors of that time.
    named = {
        "one": (1.0, 2.0), "macs": (0.2, 0.5), "params": (0.2, 0.5), "width": (0.2, 0.3),
        "removed": (-0.2, 0.3), "kept": (0.2, 0.3), "rank": (-0.1, 0.3), "blocks": (-0.1, 0.3),
    }  # fmt: skip
    monkeypatch.setattr("gensynth.search.inquisitor._SCORE_PRIOR", {**named, "substitutes": (0, 1)})
    extra = ((-0.5, 0.4), (1.0, 0.7), (0.2, 0.2))
    monkeypatch.setattr("gensynth.search.inquisitor._EXTRA_PRIOR", extra)
    monkeypatch.setattr("gensynth.search.regression.RESIDUAL_SDS", np.geomspace(0.01, 0.3, 6))
    monkeypatch.setattr("gensynth.search.regression.NEGLIGIBLE", 1e-4)
    inquisitor = planted.learned.__wrapped__()  # not one that has predicted by other priors
    mean, _ = inquisitor.predict(planted.random_points(3, 9), FULL)
    # 1e-4 is far below their standard errors and far above what another order of sums changes.
    assert mean == pytest.approx([2.457721, 2.329046, 2.114523], abs=1e-4)


def test_what_loses_nothing_is_chosen_and_what_loses_much_is_not() -> None:
    space = free_space("resnet8", words=("separable", "low_rank_2"))
    loss = np.full((len(space.sites), 2), 1e3)
    loss[:, 1] = 1e-6
    theta = dataclasses.replace(theta_of(space), at_site=np.log(loss))
    points = Generator(space, theta, limits_of(space, 0.3, None)).points(range(5))
    assert points.substitutes is not None
    free = points.substitutes[:, space.sites.allowed[:, 2]]
    assert (free != 1).all()
    assert (free == 2).mean() > 0.8  # one that fits is dense again at the end
    dear = dataclasses.replace(theta, at_site=np.full_like(loss, 20.0))
    dearer = Generator(space, dear, limits_of(space, 0.6, None)).points(range(5))
    assert dearer.substitutes is not None
    assert not dearer.substitutes.any()


def test_nothing_that_still_fits_is_left_out() -> None:
    space = free_space("resnet8")
    limits = limits_of(space, 0.3, 0.4)
    theta = theta_of(space)
    points = Generator(space, theta, limits).points(range(10))
    bounds = np.array([limits[name] for name in NAMES])
    assert points.substitutes is not None
    for index in range(10):
        one = points.take([index])
        for group in np.flatnonzero(space.living(points)[index]):
            widths = one.widths.copy()
            widths[0, group] += 1
            wider = space.costs(Points(widths, one.kept_blocks, one.substitutes))[0]
            assert widths[0, group] > space.sizes[group] or (wider > bounds).any()
        gone = (~one.kept_blocks[0] & space.site_owners).any(axis=1)
        for site in np.flatnonzero(
            points.substitutes[index] * ~gone
        ):  # back to dense loses nothing
            substitutes = points.substitutes[index : index + 1].copy()
            substitutes[0, site] = 0
            dense = space.costs(Points(one.widths, one.kept_blocks, substitutes))[0]
            assert (dense > bounds).any()


def test_a_removed_block_has_no_substitutes() -> None:
    space = free_space("resnet8")
    points = Generator(space, theta_of(space), limits_of(space, 0.02, None)).points(range(20))
    assert points.substitutes is not None
    gone = (~points.kept_blocks[:, None, :] & space.site_owners).any(axis=2)
    assert gone.any()
    assert not points.substitutes[gone].any()


def test_seeds_give_different_networks_of_different_operators() -> None:
    space = free_space("resnet20", 2)
    generator = Generator(space, theta_of(space), limits_of(space, 0.3, 0.3))
    points = generator.points(range(50))
    assert points.substitutes is not None
    assert len(np.unique(points.substitutes, axis=0)) > 25
    relative = space.relative(points)
    distances = [
        float(np.abs(relative[i] - relative[j]).mean())
        for i, j in itertools.combinations(range(50), 2)
    ]
    assert np.median(distances) >= 0.05


def test_many_seeds_at_once_are_each_seed_alone() -> None:
    space = free_space("resnet20", 2)
    theta = theta_of(space, budget=(float(np.log(0.4)), 0.2))
    generator = Generator(space, theta, limits_of(space, 0.4, 0.3))
    together = generator.points(range(12))
    for seed in range(12):
        assert generator.points([seed])[0] == together[seed]


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.integers(0, 100))
def test_a_generator_read_from_its_text_gives_the_same_graphs(seed: int, draw: int) -> None:
    space = free_space("resnet8", words=("separable", "grouped_2", "smaller_kernel"))
    theta = dataclasses.replace(theta_of(space, draw), everywhere=np.array([0.25, -0.5, 0.0]))
    generator = Generator(space, theta, limits_of(space, 0.3, 0.5))
    again = Generator.from_json(generator.to_json(), space)
    assert again.to_json() == generator.to_json()
    assert again.generate(seed).to_json() == generator.generate(seed).to_json()
    with pytest.raises(ValueError, match="learned for other operators"):
        Generator.from_json(generator.to_json(), free_space("resnet8", words=("separable",)))


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    space = free_space("resnet8")
    generator = Generator(space, theta_of(space), limits_of(space, 0.3, 0.5))
    graphs = [generator.generate(seed) for seed in (0, 7, 2**31)]
    assert all(graph.selection.substitutes for graph in graphs)
    (tmp_path / "prototype.json").write_text(space.coupling.graph.to_json())
    (tmp_path / "generator.json").write_text(generator.to_json())
    code = """
import json, sys
from pathlib import Path
from gensynth.space.coupling import couple
from gensynth.search.generator import Generator
from gensynth.graph.graph import Graph
from gensynth.space.space import Space

folder = Path(sys.argv[1])
text = (folder / "generator.json").read_text()
words = tuple(json.loads(text)["operators"])
space = Space(couple(Graph.from_json((folder / "prototype.json").read_text())), substitutes=words)
generator = Generator.from_json(text, space)
assert "torch" not in sys.modules
for seed in (0, 7, 2**31):
    sys.stdout.write(generator.generate(seed).to_json())
"""
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert found.stdout == "".join(graph.to_json() for graph in graphs)


def test_the_searched_vector_holds_one_number_a_word() -> None:
    space = free_space("resnet8")
    theta = theta_of(space, budget=(-1.0, 0.1))
    moved = theta.with_vector(theta.vector() + 0.25)
    assert len(theta.vector()) == len(theta_of(space_of("resnet8")).vector()) + len(CHOICES)
    assert moved.vector().tolist() == (theta.vector() + 0.25).tolist()
    assert moved.everywhere.tolist() == [0.25] * len(CHOICES)
    assert moved.at_site.tolist() == theta.at_site.tolist()


def observer() -> tuple[Space, Inquisitor, Points]:
    """Return a space with operators, and an inquisitor that is told one of them does harm."""
    space = Space(planted.space().coupling, substitutes=("separable", "low_rank_2"))
    nats = np.full((len(space.sites), 2), 0.3)
    importance = dataclasses.replace(planted.importance(), substitute_nats=nats)
    plain = planted.random_points(60, seed=1)
    random = np.random.default_rng(2)
    chosen = np.where(
        space.sites.allowed[None, :, 1:].all(axis=2),
        random.integers(0, 3, (60, len(space.sites))),
        0,
    )
    points = Points(plain.widths, plain.kept_blocks, chosen.astype(np.int8))
    inquisitor = Inquisitor(space, importance)
    worse = np.asarray(points.substitutes == 1).mean(axis=1)
    nats = np.exp(-1 + 2 * worse)
    inquisitor = inquisitor.hear(points, nats.tolist(), 0)
    for index, harm in enumerate(worse):
        share = 1 / (1 + np.exp(-(2.5 - 2 * harm)))
        correct = int(random.binomial(4000, share))
        score = Proportion("top1", correct, 4000)
        inquisitor = inquisitor.observe(Observation(points[index], SHORT, score))
    return space, inquisitor, points


def test_an_inquisitor_learns_which_operator_does_harm() -> None:
    # The planted truth: logit accuracy falls by 2 from no separable convolution to all.
    space, inquisitor, points = observer()
    one = planted.points_at(6, 6, 8, 8, 10, 10)
    means = []
    for operator in (0, 1, 2):
        chosen = np.where(space.sites.allowed[:, 1:].all(axis=1), operator, 0)[None]
        point = Points(one.widths, one.kept_blocks, chosen.astype(np.int8))
        mean, _ = inquisitor.predict(point, SHORT)
        means.append(float(mean[0]))
    dense, separable, low_rank = means
    assert separable < low_rank - 1
    assert abs(dense - low_rank) < 0.5
    assert len(points) == 60


def test_theta_i_with_substitutes_reads_back() -> None:
    space, inquisitor, points = observer()
    document = json.loads(json.dumps(inquisitor.to_document()))
    again = Inquisitor.from_document(document, space)
    assert again.to_document() == inquisitor.to_document()
    for fidelity in (SHORT, FULL):
        ours, theirs = inquisitor.predict(points, fidelity), again.predict(points, fidelity)
        assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]
