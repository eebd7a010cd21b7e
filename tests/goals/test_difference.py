"""Paired differences of scores, against hand calculations of the images' own differences."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from gensynth.goals.certificate import certify
from gensynth.goals.difference import PairedDraws, PairedImages, difference, read_difference
from gensynth.goals.ledger import Ledger
from gensynth.goals.relative import settle
from gensynth.goals.requirements import parse_all
from gensynth.goals.score import Proportion, Resampled, read_score, to_record
from gensynth.goals.verdicts import Verdict
from gensynth.tasks.confusion import measured


def answered(right: np.ndarray) -> Resampled:
    """The score of images of 1,000 pixels each, of which so many are right."""
    counts = np.zeros((len(right), 2, 2), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = right, 1000 - right
    return measured(counts, "pixel_accuracy")


def test_a_paired_difference_is_as_sure_as_the_images_own_differences_are() -> None:
    # Images differ much in how hard they are, the networks little on any one of them.
    random = np.random.default_rng(0)
    prototype = random.integers(700, 990, 233)
    network = prototype - random.integers(-10, 14, 233)
    found = difference(answered(network), answered(prototype))
    assert found is not None
    apart = (network - prototype) / 10  # percent points an image
    reach = norm.ppf(0.975) * apart.std(ddof=1) / np.sqrt(233)
    assert found.points == pytest.approx(apart.mean())
    low, high = found.bounds()
    assert high - found.points == pytest.approx(reach, rel=0.1)  # 1,000 resamples: 2.2 %
    assert found.points - low == pytest.approx(reach, rel=0.1)
    alone = answered(network).bounds()
    assert 100 * (alone[1] - alone[0]) > 5 * (high - low)
    one_sided = found.bounds(0.99, sided=1)
    assert found.points - one_sided[0] == pytest.approx(reach * norm.ppf(0.99) / 1.96, rel=0.1)


def test_the_metrics_beside_the_score_have_their_own_paired_difference() -> None:
    # All pixels are of class 0, so its intersection over union is the pixel accuracy and that of
    # class 1 is 0: mIoU is half of it on every draw. Only class 0 has a class accuracy.
    found = difference(answered(np.array([900, 800, 650])), answered(np.array([880, 820, 600])))
    assert found is not None
    assert {*found.others} == {"miou", "class_accuracy"}
    own, half = (found.points, *found.bounds()), found.others["miou"]
    assert (half.points, *half.bounds()) == pytest.approx([end / 2 for end in own], abs=1e-3)
    classes = found.others["class_accuracy"].bounds()
    assert classes == pytest.approx(found.bounds(), abs=1e-3)


def test_a_paired_difference_is_the_same_from_the_ledgers_record(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    one, other = (answered(random.integers(700, 990, 40)) for _ in range(2))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.score("one", "test", lambda: one, metric="pixel_accuracy", n=40)
    ledger.score("other", "test", lambda: other, metric="pixel_accuracy", n=40)
    first, second = (ledger.recorded(name, "test", one.metric) for name in ("one", "other"))
    assert first is not None
    assert second is not None
    kept, made = difference(first, second), difference(one, other)
    assert kept is not None
    assert made is not None
    assert (kept.points, kept.bounds()) == (made.points, made.bounds())
    for name, own in made.others.items():  # their values are kept in percent
        assert kept.others[name].bounds() == pytest.approx(own.bounds())
    assert "resamples" not in one.to_document()  # it fills journals and cards otherwise


def test_scores_that_share_no_draws_of_images_have_no_paired_difference() -> None:
    resampled = answered(np.array([900, 800]))
    assert difference(resampled, answered(np.array([900, 800, 700]))) is None
    assert difference(resampled, Resampled("pixel_accuracy", 0.8, 0.1, 2)) is None
    assert difference(Proportion("top1", 9, 10), Proportion("top1", 8, 10)) is None
    known = Proportion.of("top1", np.arange(10) < 8)
    assert difference(Proportion("top1", 9, 10), known) is None
    assert difference(Proportion.of("top5", np.arange(10) < 8), known) is None
    assert difference(Proportion.of("top1", np.arange(11) < 8), known) is None


def test_images_are_paired_one_by_one() -> None:
    # Of ten images the prototype has 0 to 6 right, the network 0 to 3, 8 and 9.
    prototype = Proportion.of("top1", np.arange(10) < 7)
    network = Proportion.of("top1", np.isin(np.arange(10), [0, 1, 2, 3, 8, 9]))
    assert (prototype.right.hex(), network.right.hex()) == ("fe00", "f0c0")
    found = difference(network, prototype)
    assert found == PairedImages(both=4, gained=2, lost=3, neither=1)
    assert found.points == pytest.approx(-10)


def test_equal_scores_of_images_are_as_sure_as_the_images_on_which_they_differ() -> None:
    # n = 10,000, both right on 90 %. phi = (8,900 x 900 - 100 x 100 - 5,000) / (9,000 x 1,000) =
    # 0.888333. One-sided z = 1.644854; Wilson's half 1.644854 sqrt(0.09 / 10,000 + 1.644854^2 /
    # 4e8) / 1.00027055 = 0.0049350, centre 0.9 - 0.8 x 1.35237e-4 = 0.8998918: the ends are
    # 0.0050432 below 0.9 and 0.0048268 above. sqrt(a^2 + b^2 - 2 phi a b) = 0.0023415.
    both = np.ones(10_000, bool)
    network, prototype = both.copy(), both.copy()
    network[:100] = prototype[100:200] = False
    network[200:1100] = prototype[200:1100] = False
    found = difference(Proportion.of("top1", network), Proportion.of("top1", prototype))
    assert found == PairedImages(8_900, 100, 100, 900)
    assert found.points == 0
    assert found.bounds(sided=1) == pytest.approx((-0.23415, 0.23415), abs=1e-4)


def test_a_network_that_is_no_worse_than_the_prototype_is_certified_on_harder_images() -> None:
    # The prototype has 90 % of the search images and 70 % of the harder test images right; the
    # network gains and loses 50 of 2,000 there. phi = (1,350 x 550 - 50 x 50 - 1,000) /
    # (1,400 x 600) = 0.8798; about 1.645 sqrt(2 x 0.21 x 0.12 / 2,000) = 0.83 points either way.
    requirements = settle(parse_all(["top1 >= prototype - 1"]), {"top1": 90.0})
    prototype, network = np.zeros(2_000, bool), np.zeros(2_000, bool)
    prototype[:1_400] = network[50:1_450] = True
    score = Proportion.of("top1", network)
    apart = difference(score, Proportion.of("top1", prototype))
    paired = certify(score, requirements, difference=apart)
    assert paired.gained == pytest.approx((-0.83, 0.83), abs=0.01)
    assert paired.verdict is Verdict.SATISFIED
    assert certify(score, requirements).verdict is Verdict.VIOLATED  # by 89 %


def test_a_resampled_score_is_certified_by_its_difference_too() -> None:
    # Pixels: the prototype's 80 % here are 90 % of the search split's; the network is 0.02 points
    # below it, give or take 0.07 by the spread of 233 images' own differences.
    random = np.random.default_rng(2)
    prototype = random.integers(650, 950, 233)
    network = prototype - random.integers(-10, 11, 233)
    requirements = settle(parse_all(["pixel_accuracy >= prototype - 0.2"]), {"pixel_accuracy": 90})
    score = answered(network)
    paired = certify(score, requirements, difference=difference(score, answered(prototype)))
    apart = (network - prototype) / 10
    low = apart.mean() - norm.ppf(0.95) * apart.std(ddof=1) / np.sqrt(233)
    assert paired.gained is not None
    assert paired.gained[0] == pytest.approx(low, abs=0.01)
    assert (low > -0.2, paired.verdict) == (True, Verdict.SATISFIED)
    assert certify(score, requirements).verdict is Verdict.VIOLATED


def test_the_ledger_keeps_which_images_were_right_and_a_journal_does_not(tmp_path: Path) -> None:
    hit = np.random.default_rng(3).random(1_001) < 0.8
    score = Proportion.of("top1", hit)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.score("one", "test", lambda: score, metric="top1", n=1_001)
    kept = ledger.recorded("one", "test", "top1")
    assert isinstance(kept, Proportion)
    assert np.array_equal(np.unpackbits(np.frombuffer(kept.right, np.uint8))[:1_001], hit)
    assert score.to_document() == {"correct": int(hit.sum()), "n": 1_001}
    assert len(json.dumps(to_record(score))) < 250  # 1,001 bits in base 64
    assert read_score(score.to_document()) == score  # as a ledger of before has it
    assert difference(score, read_score(score.to_document())) is None


@pytest.mark.parametrize(
    "found",
    [PairedImages(80, 5, 7, 8), PairedDraws(-0.25, 0.125, {"miou": PairedDraws(0.5, 0.25)})],
)
def test_a_difference_is_read_from_what_a_card_keeps(found: PairedImages | PairedDraws) -> None:
    document = json.loads(json.dumps(found.to_document()))
    again = read_difference(document)
    assert (again.points, again.method) == (found.points, found.method)
    assert again.bounds(0.99, sided=1) == pytest.approx(found.bounds(0.99, sided=1))
    assert {*again.others} == {*found.others}
    assert document["low"] == found.bounds()[0]


@pytest.mark.parametrize(
    "damaged",
    [
        {"points": 1.0, "low": 2.0, "high": 0.0},
        {"points": 1.0, "low": 0.0},
        {"points": float("nan"), "low": 0.0, "high": 1.0},
        {
            "points": 0.0, "low": 0.0, "high": 0.0,
            "images": {"both": 0, "gained": 0, "lost": 0, "neither": 0},
        },
    ],
)  # fmt: skip
def test_a_damaged_difference_is_refused(damaged: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_difference(damaged)
