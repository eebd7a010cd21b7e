"""The cycle itself, on a planted space with an evaluator that answers by its truth."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from gensynth.errors import ConfigError
from gensynth.search.acquisition import shortlist
from gensynth.search.cycle import PENALTY_STEP, Cycle, Settings, State
from gensynth.search.inquisitor import FULL, SHORT, Inquisitor, Observation
from gensynth.search.synthesis import (
    FIRST_PENALTY,
    find_rate,
    first_state,
    initialise,
    run_cycle,
    synthesise,
    warm_up,
)
from gensynth.search.theta import grid
from gensynth.training.fit import Recipe
from tests.search.planted import importance, learned, planted_logit, space
from tests.search.stubs import WEIGHTS, Built, StubEvaluator, StubProbe, settings_of, state_of


def run(
    settings: Settings, state: State, evaluator: StubEvaluator | None = None
) -> tuple[Cycle, StubEvaluator, StubProbe]:
    shop, probe = evaluator or StubEvaluator(), StubProbe()
    ours: Any = shop  # neither is the real one, whose parts the cycle calls by these names
    theirs: Any = probe
    return run_cycle(settings, ours, theirs, state), shop, probe


def share(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_what_promises_most_beside_what_was_seen_is_trained_and_no_other() -> None:
    settings = settings_of(least_score=0.9)
    state = state_of(settings, learned())
    cycle, evaluator, _ = run(settings, state)
    listed = shortlist(settings, state)
    points = space().points([c.points[0] for c in listed])
    nats = np.exp(0.5 - 2 * planted_logit(points))  # what the stub's probe answers
    heard = state.inquisitor.hear(points, nats.tolist(), state.cycle)
    seen = space().points([o.point for o in heard.observations])
    mean, sd = heard.predict(seen, SHORT)
    beaten = (100 * share(mean) - state.penalty * norm.cdf((np.log(9) - mean) / sd)).max()
    mean, sd = heard.predict(points, SHORT)
    draws = np.random.default_rng(0).normal(mean, sd, (20_000, len(mean)))
    value = 100 * share(draws) - state.penalty * (draws < np.log(9))
    best = listed[int(np.maximum(value, beaten).mean(axis=0).argmax())]
    assert cycle.chosen.seed == best.seed
    assert [network.graph for network in evaluator.trained] == [best.graph]
    assert cycle.after.inquisitor.divergences[-len(listed) :] == heard.divergences[-len(listed) :]


def test_what_is_trained_is_scored_on_the_search_split_and_probed() -> None:
    settings = settings_of()
    _, evaluator, probe = run(settings, state_of(settings, learned()))
    ((network, split),) = evaluator.scored
    assert split == "search"
    assert network is evaluator.trained[0]
    assert evaluator.recalibrated == [network]
    assert network.weights["w"] == WEIGHTS["w"]
    assert len(probe.seeds) == 1


def test_exactly_the_score_is_observed_and_at_the_short_fidelity() -> None:
    settings = settings_of()
    state = state_of(settings, learned())
    cycle, _, _ = run(settings, state)
    before, after = state.inquisitor.observations, cycle.after.inquisitor.observations
    assert after == (*before, Observation(cycle.chosen.points[0], SHORT, cycle.score))
    value = float(share(planted_logit(cycle.chosen.points))[0])
    assert cycle.score.value == pytest.approx(value, abs=1 / 4_000)
    assert cycle.utility == pytest.approx(100 * cycle.score.value)


def test_a_prediction_is_said_before_the_training_and_a_promise_after_it() -> None:
    settings = settings_of()
    state = state_of(settings, learned())
    cycle, _, _ = run(settings, state)
    heard = Inquisitor(
        space(), state.inquisitor.importance, cycle.after.inquisitor.divergences,
        state.inquisitor.observations,
    )  # fmt: skip
    for said, inquisitor, fidelity in (
        (cycle.predicted, heard, SHORT),
        (cycle.promised, cycle.after.inquisitor, FULL),
    ):
        mean, sd = inquisitor.predict(cycle.chosen.points, fidelity)
        expected = share(mean[0] + np.array([-1.96, 0, 1.96]) * sd[0])
        assert said == pytest.approx(tuple(expected))


@pytest.mark.parametrize(("least", "moves"), [(0.999, 1), (0.01, -1)])
def test_mu_rises_while_more_than_the_risk_is_predicted_to_violate_and_falls_otherwise(
    least: float, moves: int
) -> None:
    settings = settings_of(least_score=least)
    state = state_of(settings, learned())
    cycle, _, _ = run(settings, state)
    violation = cycle.outlook.violation
    expected = max(0.0, state.penalty + PENALTY_STEP * (violation - settings.objective.risk))
    assert cycle.after.penalty == expected
    assert np.sign(cycle.after.penalty - state.penalty) == moves
    assert (violation > settings.objective.risk) == (moves > 0)


def test_mu_is_never_negative() -> None:
    settings = settings_of(least_score=0.01)
    cycle, _, _ = run(settings, replace(state_of(settings, learned()), penalty=0.5))
    assert cycle.after.penalty == 0.0


def test_the_shared_weights_take_over_the_rate_and_each_cycle_trains_on_views_of_its_own() -> None:
    settings = settings_of(reptile_rate=0.25)
    for number in (3, 4):
        state = state_of(settings, learned(), cycle=number)
        cycle, evaluator, _ = run(settings, state)
        ((weights, network, rate),) = evaluator.absorbed
        assert (network, rate) == (evaluator.trained[0], 0.25)
        assert weights is state.weights
        assert cycle.after.weights["w"] == state.weights["w"] + 0.25
        assert network.epochs == [2 + number]  # after the two of the warm-up
        assert cycle.after.cycle == cycle.number == number + 1


def test_weights_that_do_not_learn_leave_every_cycle_the_same_views() -> None:
    settings = settings_of(learn_weights=False)
    _, evaluator, _ = run(settings, state_of(settings, learned()))
    assert evaluator.trained[0].epochs == [0]
    assert [rate for _, _, rate in evaluator.absorbed] == [0.0]


def test_saliency_is_what_the_responses_taught_last() -> None:
    settings = settings_of()
    state = state_of(settings, Inquisitor(space(), importance(seed=5)))
    state = replace(state, inquisitor=replaced(learned(), importance(seed=5)))
    cycle, _, _ = run(settings, state)
    taught = cycle.after.inquisitor.importance.log_saliency()
    for found, told, old in zip(
        cycle.after.generator.theta.u, taught, state.generator.theta.u, strict=True
    ):
        assert found.tolist() == grid(told).tolist()
        assert found.tolist() != old.tolist()


def replaced(inquisitor: Inquisitor, told: Any) -> Inquisitor:
    return Inquisitor(space(), told, inquisitor.divergences, inquisitor.observations)


def test_a_search_begins_with_the_prototypes_responses_and_a_warm_up() -> None:
    settings = settings_of(reptile_rate=0.5)
    evaluator: Any = StubEvaluator()
    probe: Any = StubProbe()
    state = initialise(settings, evaluator, probe, space())
    assert (state.cycle, state.penalty) == (0, FIRST_PENALTY)
    assert [network.epochs for network in evaluator.trained] == [[0], [1]]
    assert [rate for _, _, rate in evaluator.absorbed] == [0.5, 0.5]
    assert state.weights["w"] == WEIGHTS["w"] + 1.0
    for found, told in zip(state.generator.theta.u, importance().log_saliency(), strict=True):
        assert found.tolist() == grid(told).tolist()
    assert state.anchor is state.generator.theta


def searched(settings: Settings) -> tuple[State, State, list[Cycle]]:
    """First and last state of a search, and its cycles."""
    evaluator: Any = StubEvaluator()
    probe: Any = StubProbe()
    first = initialise(settings, evaluator, probe, space())
    cycles: list[Cycle] = []

    def keep(_: State, cycle: Cycle) -> State:
        cycles.append(cycle)
        return cycle.after

    return first, synthesise(settings, evaluator, probe, first, keep=keep), cycles


def family(state: State) -> np.ndarray:
    """True scores of held-out seeds' networks."""
    return share(planted_logit(state.generator.points(range(10_000, 10_048))))


def test_a_search_ends_with_a_better_family_than_it_began_with() -> None:
    # The truth is known: the inner width of the last block decides, mostly.
    first, last, cycles = searched(settings_of(cycles=8))
    assert [cycle.number for cycle in cycles] == list(range(1, 9))
    assert family(last).mean() > family(first).mean()
    decisive = [state.generator.points(range(48)).widths[:, 5].mean() for state in (first, last)]
    assert decisive[1] > decisive[0]


def test_a_penalty_moves_the_family_into_the_requirement() -> None:
    first, _, _ = searched(settings_of(cycles=1))
    least = float(np.quantile(family(first), 0.7))  # most of the first family violates it
    _, last, cycles = searched(settings_of(least_score=least, cycles=10))
    assert (family(first) < least).mean() > 0.6
    assert (family(last) < least).mean() < 0.3
    assert cycles[0].outlook.violation > cycles[-1].outlook.violation


class Fragile(StubEvaluator):
    """Whose networks are destroyed by a larger rate than they bear, and end at guessing then."""

    def __init__(self, bearable: float) -> None:
        super().__init__()
        self.bearable = bearable

    def distil(self, network: Built, recipe: Recipe, *, first_epoch: int = 0) -> float:
        super().distil(network, recipe, first_epoch=first_epoch)
        return 0.5 if recipe.peak_lr <= self.bearable else 1.0


def test_the_rate_is_found_on_the_first_network_of_the_warm_up() -> None:
    settings, evaluator = settings_of(), Fragile(bearable=0.01)
    ours: Any = evaluator
    theirs: Any = StubProbe()
    state = first_state(settings, ours, theirs, space())
    assert find_rate(settings, ours, state).chosen.rate == 0.01
    tried = list(evaluator.trained)
    warm_up(replace(settings, recipe=Recipe(epochs=1, peak_lr=0.01)), ours, state)
    assert {one.graph.sha256 for one in tried} == {evaluator.absorbed[0][1].graph.sha256}


def test_networks_that_learn_nothing_are_not_searched_with() -> None:
    settings = settings_of()
    evaluator: Any = Fragile(bearable=1e-9)
    probe: Any = StubProbe()
    state = first_state(settings, evaluator, probe, space())
    with pytest.raises(ConfigError, match=r"no learning rate .* guessing loses 1\.00; give"):
        find_rate(settings, evaluator, state)
    with pytest.raises(ConfigError, match=r"rate 0\.2 ends at a loss of 1\.00.* lower peak_lr in"):
        warm_up(settings, evaluator, state)
    cold = replace(settings, warmup=0)
    with pytest.raises(ConfigError, match="lower peak_lr"):
        run_cycle(cold, evaluator, probe, warm_up(cold, evaluator, state))
