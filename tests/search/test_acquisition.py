"""Which seed a cycle takes: worth by its formula, and a shortlist of different promising seeds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from gensynth.goals.score import Proportion
from gensynth.goals.utility import Utility
from gensynth.search.acquisition import BUDGETS, around, choose, promise, shortlist, worth
from gensynth.search.cycle import Candidate
from gensynth.search.inquisitor import SHORT, Inquisitor, Observation
from tests.search.planted import importance, learned, space
from tests.search.stubs import settings_of, state_of


def test_worth_is_the_predicted_utility_less_the_penalty_of_a_violation() -> None:
    settings = settings_of(least_score=0.9)
    state = state_of(settings, learned())
    points = state.generator.points(range(20))
    mean, sd = learned().predict(points, SHORT)
    # U is the score in percent; the requirement's logit is log(0.9 / 0.1).
    expected = 100 / (1 + np.exp(-mean)) - 20.0 * norm.cdf((np.log(9) - mean) / sd)
    assert worth(settings, state, learned(), points) == pytest.approx(expected)


def test_a_promise_is_what_a_place_is_worth_after_a_try() -> None:
    objective = replace(settings_of(least_score=0.9).objective, utility=Utility("-10*log10(macs)"))
    mean, sd = np.array([2.0, 2.2, 3.0]), np.array([0.5, 0.1, 0.3])
    costs = np.zeros((3, len(objective.costs)))
    costs[:, objective.costs.index("macs")] = [1e5, 1e6, 1e7]
    value, meets = np.array([-50.0, -60.0, -70.0]), norm.sf((np.log(9) - mean) / sd)
    for beaten in (-np.inf, -65.0, -55.0):
        # U is the same wherever in its interval the score is; mu is 20 for one that is missed.
        expected = meets * np.maximum(value, beaten) + (1 - meets) * np.maximum(value - 20, beaten)
        found = promise(objective, 20.0, (mean, sd), costs, beaten)
        assert found == pytest.approx(expected, abs=20 / 64)


def test_the_seeds_of_a_shortlist_are_different_and_of_this_cycle() -> None:
    settings = settings_of(candidates=8, shortlist=8)
    listed = {}
    for cycle in (3, 4):
        candidates = shortlist(settings, state_of(settings, learned(), cycle))
        assert len({c.seed for c in candidates}) == 8
        listed[cycle] = {c.seed for c in candidates}
    assert not listed[3] & listed[4]


def test_a_candidate_is_the_network_that_the_generator_gives_its_seed() -> None:
    settings = settings_of()
    state = state_of(settings, learned())
    for candidate in shortlist(settings, state):
        assert candidate.graph.to_json() == state.generator.generate(candidate.seed).to_json()
        assert candidate.points[0] == space().point(candidate.graph.selection)


def test_where_the_cost_is_learned_networks_beyond_the_family_s_are_tried() -> None:
    settings = settings_of(least_score=0.6, candidates=60)
    state = state_of(settings, learned())
    dealt = around(settings.objective, state.generator.theta, 10)
    middle, spread = state.generator.theta.budget
    assert [t.budget for t in dealt[:5]] == [(min(0.0, middle + by), spread) for by in BUDGETS]
    assert [t.budget for t in dealt[5:]] == [t.budget for t in dealt[:5]]
    points = state.generator.points_of(dealt, list(range(10)))
    macs = space().costs(points)[:, space().names.index("macs")]
    assert macs[4] < macs[3] < macs[2] < macs[0]
    # Nobody asks for a score, or nobody may lower the cost: there is one budget.
    free = around(settings_of().objective, state.generator.theta, 3)
    assert {theta.budget for theta in free} == {(middle, spread)}
    fixed = replace(state.generator.theta, budget=(0.0, 0.0))
    assert {theta.budget for theta in around(settings.objective, fixed, 3)} == {(0.0, 0.0)}


def test_a_network_is_not_trained_again_while_there_is_another() -> None:
    settings = settings_of(least_score=0.85)
    objective = replace(settings.objective, utility=Utility("-10*log10(macs)"))
    settings, state = replace(settings, objective=objective), state_of(settings, learned())
    own = state.generator.theta
    smaller = replace(own, budget=(own.budget[0] - 0.7, 0.1))
    points = state.generator.points_of([smaller, own], [0, 0])
    inquisitor = Inquisitor(space(), importance())
    for _ in range(30):  # the smaller meets the requirement, so the larger cannot be worth more
        score = Proportion("top1", 3_960, 4_000)
        inquisitor = inquisitor.observe(Observation(points[0], SHORT, score))
    candidates = [
        Candidate(s, state.generator.graph(points, s, 0), points.take([s])) for s in (0, 1)
    ]
    promises = promise(
        objective, state.penalty, inquisitor.predict(points, SHORT), space().costs(points), -np.inf
    )
    assert promises[0] > promises[1]
    assert choose(settings, state, inquisitor, candidates) is candidates[1]
    assert choose(settings, state, inquisitor, candidates[:1]) is candidates[0]


def test_what_is_listed_is_better_than_what_is_not() -> None:
    settings = settings_of(candidates=128, shortlist=5)
    state = state_of(settings, learned())
    listed = shortlist(settings, state)
    drawn = state.generator.points(range(128))
    points = space().points([c.points[0] for c in listed])
    mean_of = [learned().predict(p, SHORT)[0].mean() for p in (points, drawn)]
    assert mean_of[0] > mean_of[1]


def test_nothing_that_is_sure_to_violate_is_listed_where_something_is_not() -> None:
    settings = settings_of(candidates=128, shortlist=5)
    state = state_of(settings, learned())
    drawn = state.generator.points(range(128))
    # A requirement in the middle of what is predicted, judged with so large a penalty that no
    # utility pays for a sure violation.
    least = float(np.median(1 / (1 + np.exp(-learned().predict(drawn, SHORT)[0]))))
    settings = replace(settings, objective=replace(settings.objective, least_score=least))
    state = replace(state, penalty=1e4)
    points = space().points([c.points[0] for c in shortlist(settings, state)])
    violations = settings.objective.violation(*learned().predict(points, SHORT))
    assert violations.max() < 0.9


def test_in_the_first_cycle_four_times_as_many_seeds_are_taken_as_they_come() -> None:
    settings = settings_of(shortlist=3)
    first = shortlist(settings, state_of(settings, learned(), cycle=0))
    assert len({c.seed for c in first}) == 12
