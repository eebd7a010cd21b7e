"""The first task: against torch's own losses, sums by hand, and what it refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gensynth.data.dataset import Dataset, Split
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.goals.score import Proportion
from gensynth.prototypes.resnet import resnet8
from gensynth.tasks.classification import Classification
from gensynth.trace import trace

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]], dtype=torch.double)
OTHERS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.double)


def data(classes: int = 3) -> Dataset:
    def split(name: str, n: int) -> Split:
        labels = np.arange(n, dtype=np.int64) % classes
        return Split(name, np.zeros((n, 3, 8, 8), np.uint8), labels)

    names = tuple("abcdef"[:classes])
    return Dataset(
        "made", names, split("train", 12), split("search", 6), split("test", 6),
        (0.0,) * 3, (1.0,) * 3,
    )  # fmt: skip


def test_the_divergence_is_the_mean_of_p_log_p_over_q_in_nats_an_image() -> None:
    p, q = torch.softmax(OTHERS, 1), torch.softmax(LOGITS, 1)
    by_hand = float((p * (p / q).log()).sum(1).mean())
    assert float(Classification().divergence(LOGITS, OTHERS)) == pytest.approx(by_hand)
    p, q = torch.softmax(OTHERS / 4, 1), torch.softmax(LOGITS / 4, 1)
    softened = float((p * (p / q).log()).sum(1).mean())
    assert float(Classification().divergence(LOGITS, OTHERS, 4.0)) == pytest.approx(softened)
    assert float(Classification().divergence(LOGITS, LOGITS)) == 0.0


def test_class_weights_weigh_the_loss_as_torchs_do() -> None:
    labels = torch.tensor([0, 2])
    weights = (1.0, 2.0, 4.0)
    expected = nn.CrossEntropyLoss(weight=torch.tensor(weights))(LOGITS.float(), labels)
    assert torch.equal(Classification(weights).loss(LOGITS.float(), labels), expected)
    assert torch.equal(Classification().loss(LOGITS, labels), F.cross_entropy(LOGITS, labels))


def test_answers_are_drawn_as_often_as_the_softmax_says_and_scored_by_its_logarithm() -> None:
    count = 30_000
    logits = LOGITS[:1].float().expand(count, 3)
    draws = torch.Generator().manual_seed(0)
    found = Classification().sampled_score(logits, draws).exp()
    p = torch.softmax(LOGITS[0], 0)
    for share in p:
        drawn = float((found - share).abs().lt(1e-5).double().mean())
        # Four standard errors of a share of 30,000.
        assert drawn == pytest.approx(
            float(share), abs=4 * float(share * (1 - share) / count) ** 0.5
        )


def test_a_score_counts_the_images_whose_largest_logit_is_their_labels() -> None:
    split = Split("search", np.zeros((5, 1, 1, 1), np.uint8), np.array([0, 1, 2, 0, 1]))
    answers = torch.eye(3)[[0, 1, 1, 0, 2]]
    assert Classification().evaluate(lambda images: answers, split) == Proportion("top1", 3, 5)


def test_a_margin_is_the_difference_of_the_two_largest_logits() -> None:
    logits = np.array([[3.0, 1.0, 2.5], [0.0, -1.0, -5.0], [2.0, 2.0, 1.0]])
    assert Classification().margins(logits).tolist() == [0.5, 1.0, 0.0]


def test_strata_are_the_labels_and_targets_are_collated_by_row() -> None:
    train = data().train
    rows = np.array([4, 0, 5])
    assert Classification().strata(train, rows).tolist() == [1, 0, 2]
    assert Classification().targets(train, "cpu")(torch.from_numpy(rows)).tolist() == [1, 0, 2]


def test_what_is_no_classifier_of_these_data_is_refused() -> None:
    graph = trace(resnet8(classes=4).eval(), torch.zeros(1, 3, 8, 8), name="small")
    with pytest.raises(PrototypeError, match=r"each of 3 classes, got outputs of shape \(4,\)"):
        Classification().check(graph, data(3))
    Classification().check(graph, data(4))
    with pytest.raises(ConfigError, match="one weight for each of 4 classes, got 2"):
        Classification((1.0, 2.0)).check(graph, data(4))
    with pytest.raises(DataError, match="made has one class"):
        Classification().check(graph, data(1))


def test_the_smallest_recall_and_the_first_five_are_counted_of_the_same_answers() -> None:
    # Seven classes; the network answers a fixed order of them, whatever the image.
    order = torch.tensor([6.0, 5, 4, 3, 2, 1, 0])
    labels = np.array([0, 0, 4, 5, 6, 0], np.int64)
    split = Split("test", np.zeros((6, 3, 8, 8), np.uint8), labels)

    def answers(images: torch.Tensor) -> torch.Tensor:
        logits = order.repeat(len(images), 1)
        logits[1] = -logits[1]  # the second image of class 0 is taken for class 6
        return logits

    first_five = Classification(metric="top5").evaluate(answers, split)
    assert first_five == Proportion("top5", 3, 6)  # 0, 4 and the last 0
    smallest = Classification(metric="smallest_recall").evaluate(answers, split)
    assert smallest.to_document() == {
        "correct_of_class": [2, 0, 0, 0, 0, 0, 0], "n_of_class": [3, 0, 0, 0, 1, 1, 1],
    }  # fmt: skip
    assert smallest.value == 0
    graph = trace(resnet8(classes=3).eval(), torch.zeros(1, 3, 8, 8), name="small")
    with pytest.raises(ConfigError, match="five guesses are always right"):
        Classification(metric="top5").check(graph, data(3))
