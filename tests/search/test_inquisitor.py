"""Importance and predictions, against planted truths and sums by hand."""

import dataclasses
import json

import numpy as np
import pytest

from gensynth.probing.probe import Responses
from gensynth.search.features import Features
from gensynth.search.importance import FLOOR_NATS, LEARNING_RATE, consolidate, first_importance
from gensynth.search.inquisitor import FULL, SHORT, Inquisitor
from gensynth.space.points import Points
from tests.search.planted import (
    importance,
    learned,
    observe,
    planted_logit,
    points_at,
    random_points,
    space,
)


def answers(
    nats: tuple[np.ndarray, ...], points: Points, block_nats: np.ndarray, *, gain: float = 1.0
) -> Responses:
    """Return what a network would answer that keeps the first channels of every living group."""
    alive = space().living(points)[0]
    seen = []
    for g, values in enumerate(nats):
        answer = np.full(len(values), np.nan)
        if alive[g]:
            width = points.widths[0, g]
            answer[:width] = gain * values[:width]
        seen.append(answer)
    blocks = np.where(points.kept_blocks[0], gain * block_nats, np.nan)
    return Responses(tuple(seen), {}, np.ones(len(nats)), blocks, {}, 100)


WHOLE = points_at(6, 6, 8, 8, 10, 10)


def test_the_first_importance_is_what_the_prototype_answered() -> None:
    known = importance()
    responses = answers(known.channel_nats, WHOLE, known.block_nats)
    responses.effective_rank[2] = np.nan  # nobody reads it
    first = first_importance(responses)
    for found, told in zip(first.channel_nats, known.channel_nats, strict=True):
        assert found.tolist() == told.tolist()
    assert first.block_nats.tolist() == known.block_nats.tolist()
    assert first.effective_rank.tolist() == [1.0] * 6
    assert first.networks == 1


def test_saliency_is_log_information_above_a_floor() -> None:
    told = dataclasses.replace(importance(), channel_nats=(np.array([1.0, 0.0, np.exp(-2)]),))
    assert told.log_saliency()[0] == pytest.approx([0.0, np.log(FLOOR_NATS), -2.0])


def test_channels_that_a_network_does_not_have_stay_as_they_are() -> None:
    known = importance()
    points = points_at(3, 2, 8, 1, 4, 10, bits=(False, True, True))
    other = importance(seed=5)
    after = consolidate(known, space(), points, answers(other.channel_nats, points, np.ones(3)))
    alive = space().living(points)[0]
    assert not alive[1]  # the inner width of the first block
    for g, (old, new) in enumerate(zip(known.channel_nats, after.channel_nats, strict=True)):
        width = int(points.widths[0, g]) if alive[g] else 0
        assert new[width:].tolist() == old[width:].tolist()
        assert (new[:width] != old[:width]).all()
    assert after.block_nats[0] == known.block_nats[0]
    assert after.networks == 2


def test_an_answer_that_is_louder_everywhere_teaches_nothing() -> None:
    known = importance()
    responses = answers(known.channel_nats, WHOLE, known.block_nats, gain=20.0)
    after = consolidate(known, space(), WHOLE, responses)
    for old, new in zip(known.channel_nats, after.channel_nats, strict=True):
        assert new == pytest.approx(old)
    assert after.block_nats == pytest.approx(known.block_nats)
    assert after.curvature == pytest.approx(known.curvature)


def test_what_a_channel_says_beyond_the_others_moves_it() -> None:
    # By hand: one of six channels of one group of six is e^2 times as loud. The mean log
    # shift of its group is 2 / 6, of all groups 2 / 36; all widths are whole.
    known = importance()
    louder = tuple(values.copy() for values in known.channel_nats)
    louder[0][3] *= np.exp(2.0)
    after = consolidate(known, space(), WHOLE, answers(louder, WHOLE, known.block_nats))
    moved = np.log(after.channel_nats[0] / known.channel_nats[0])
    expected = np.full(6, LEARNING_RATE * -2 / 36)
    expected[3] += LEARNING_RATE * 2.0
    assert moved == pytest.approx(expected)


def test_a_planted_curvature_is_found() -> None:
    # Every channel of a group cut to k of n carries (n / k)^2 times as much.
    truth = importance()
    told, random = truth, np.random.default_rng(1)
    for _ in range(60):
        widths = random.integers(1, space().sizes + 1)
        points = points_at(*widths.tolist())
        shrunk = tuple(
            values * (size / width) ** 2.0
            for values, size, width in zip(truth.channel_nats, space().sizes, widths, strict=True)
        )
        told = consolidate(told, space(), points, answers(shrunk, points, truth.block_nats))
    assert told.curvature == pytest.approx(2.0, abs=0.2)
    assert abs(told.curvature - 2.0) < 0.2 * abs(truth.curvature - 2.0)


def test_the_prototype_has_no_degradation() -> None:
    told = dataclasses.replace(importance(), effective_rank=np.ones(6))
    row = Features(space(), told)(WHOLE)[0]
    assert row.tolist() == [1.0] + [0.0] * (len(row) - 1)


def test_features_by_hand() -> None:
    nats = (np.array([3.0, 1.0, 2.0, 0.5, 0.25, 0.25]), *importance().channel_nats[1:])
    told = dataclasses.replace(importance(), channel_nats=nats, effective_rank=np.full(6, 4.0))
    features = Features(space(), told)
    points = points_at(2, 6, 8, 8, 10, 10, bits=(True, False, True))
    row = dict(zip(features.NAMES, features(points)[0], strict=False))
    costs = space().costs(points)[0] / space().prototype
    gone = told.channel_nats[3]  # inner width of the second block: its group went with it
    assert len(gone) == 8
    assert row["macs"] == pytest.approx(np.log(costs[0]))
    assert row["params"] == pytest.approx(np.log(costs[1]))
    assert row["width"] == pytest.approx(np.log(2 / 6) / 6)  # of six groups
    assert row["removed"] == pytest.approx(np.log1p(2.0))  # all but the best two: 7 - 5 nats
    assert row["rank"] == pytest.approx(np.log(4 / 2) / 6)
    assert row["blocks"] == pytest.approx(np.log1p(0.2))
    tail = features(points)[0][len(features.NAMES) :]
    assert tail[:6] == pytest.approx([np.log(2 / 6), 0, 0, 0, 0, 0])
    assert tail[6:].tolist() == [0.0, 1.0, 0.0]
    assert features.count == len(features(points)[0])


def test_a_planted_accuracy_is_predicted_with_honest_intervals() -> None:
    unseen = random_points(200, seed=3)
    truth = planted_logit(unseen)
    mean, sd = learned().predict(unseen, SHORT)
    rmse = float(np.sqrt(np.square(mean - truth).mean()))
    assert rmse < 0.25 * truth.std()
    assert (np.abs(mean - truth) < 1.96 * sd).mean() > 0.9
    # Before anything was seen the doubt was larger.
    _, before = Inquisitor(space(), importance()).predict(unseen, SHORT)
    assert sd.mean() < 0.2 * before.mean()


def test_a_planted_shift_is_predicted() -> None:
    unseen = random_points(100, seed=4)
    truth = 0.5 - 2 * planted_logit(unseen)
    mean, sd = learned().predict_divergence(unseen)
    assert np.corrcoef(mean, truth)[0, 1] > 0.97
    assert (np.abs(mean - truth) < 1.96 * sd).mean() > 0.9


def test_full_distillation_has_its_own_accuracy() -> None:
    unseen = random_points(50, seed=5)
    both = observe(learned(), random_points(8, seed=6), 7, FULL, gain=0.8)
    gap = both.predict(unseen, FULL)[0] - both.predict(unseen, SHORT)[0]
    assert gap.mean() == pytest.approx(0.8, abs=0.15)


def test_a_network_that_was_probed_is_judged_by_its_own_shift() -> None:
    # The same network, said to have answered like the prototype, or not at all like it.
    point = random_points(1, seed=8)
    near = learned().hear(point, [1e-3], 1)
    far = learned().hear(point, [3.0], 1)
    assert near.predict(point, SHORT)[0] > far.predict(point, SHORT)[0]


def test_a_shift_as_predicted_leaves_less_doubt() -> None:
    point = random_points(1, seed=8)
    (mean,), (doubt,) = learned().predict_divergence(point)
    told = learned().hear(point, [float(np.exp(mean))], 0)
    assert told.predict_divergence(point)[1][0] < doubt
    assert told.predict(point, SHORT)[1][0] < learned().predict(point, SHORT)[1][0]


def features_of(inquisitor: Inquisitor, points: Points, log_nats: np.ndarray) -> np.ndarray:
    """What the score model reads of networks at short fidelity: (networks, features)."""
    own, none = Features(space(), inquisitor.importance)(points), np.zeros(len(points))
    return np.column_stack([own, log_nats, none, none])


@pytest.mark.parametrize(("cycle", "age"), [(9, 0), (5, 4), (0, 9)])
def test_a_divergence_counts_less_the_older_it_is(cycle: int, age: int) -> None:
    # By hand: a normal belief of m and s, a divergence of variance 0.05^2 and as much a cycle
    # since: m + s^2 / (s^2 + noise) (log nats - m), and what is left of s.
    point, other = random_points(2, seed=8).take([0]), random_points(2, seed=8).take([1])
    told = learned().hear(point, [3.0], cycle).hear(other, [0.5], 9)
    (mean,), (sd,) = told.predict_divergence(point)
    gain = sd**2 / (sd**2 + 0.05**2 * (1 + age))
    known = np.array([mean + gain * (np.log(3.0) - mean)])
    expected, spread = told.posterior.predict(features_of(told, point, known))
    found, doubt = told.predict(point, SHORT)
    assert found == pytest.approx(expected, rel=1e-12)
    slope = float(told.posterior.mean[-3])
    assert doubt == pytest.approx(np.hypot(spread, slope * sd * np.sqrt(1 - gain)), rel=1e-12)


def test_what_was_probed_long_ago_teaches_less_about_others() -> None:
    start, points = Inquisitor(space(), importance()), random_points(2, seed=8)
    far, newest = points.take([0]), points.take([1])
    fresh, stale = (start.hear(far, [50.0], c).hear(newest, [0.1], 200) for c in (200, 0))
    assert fresh.predict_divergence(far)[0][0] > stale.predict_divergence(far)[0][0]


def test_of_two_divergences_of_one_network_the_newest_counts() -> None:
    # Both know the same of all networks; what they know of this one is what they heard last.
    point = random_points(1, seed=8)
    better = learned().hear(point, [3.0], 5).hear(point, [1e-3], 5)
    worse = learned().hear(point, [1e-3], 5).hear(point, [3.0], 5)
    assert better.predict_divergence(point)[0] == pytest.approx(worse.predict_divergence(point)[0])
    assert better.predict(point, SHORT)[0] > worse.predict(point, SHORT)[0]


def test_draws_scatter_around_the_prediction() -> None:
    unseen = random_points(20, seed=9)
    random = np.random.default_rng(0)
    draws = np.array(
        [
            learned().draw(unseen, SHORT, random.standard_normal(learned().width))
            for _ in range(2000)
        ]
    )
    mean, sd = learned().predict(unseen, SHORT)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.02)
    assert (draws.std(axis=0) < sd).all()  # a draw leaves the scatter out
    assert draws.std(axis=0).min() > 0


def test_an_inquisitor_reads_back_from_its_text() -> None:
    known = learned().consolidate(WHOLE, answers(importance(3).channel_nats, WHOLE, np.ones(3)))
    text = json.dumps(known.to_document())
    again = Inquisitor.from_document(json.loads(text), space())
    assert json.dumps(again.to_document()) == text
    unseen = random_points(10, seed=10)
    for one, other in zip(known.predict(unseen, FULL), again.predict(unseen, FULL), strict=True):
        assert one.tobytes() == other.tobytes()


def test_nothing_that_was_heard_changes_an_older_inquisitor() -> None:
    start = Inquisitor(space(), importance())
    before = json.dumps(start.to_document())
    points = random_points(2, seed=11)
    start.hear(points, [0.1, 0.2], 0)
    observe(start, points, 0)
    start.consolidate(WHOLE, answers(importance(3).channel_nats, WHOLE, np.ones(3)))
    assert json.dumps(start.to_document()) == before
