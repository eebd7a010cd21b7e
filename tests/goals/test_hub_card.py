"""A card in the form of a model hub: what its head and its table say is what the card says."""

import json

from gensynth.goals.hub_card import hub_card
from tests.places import ROOT

RECORDED = ROOT / "experiments/cifar10/results/FermiNet-B/card.json"


def test_a_recorded_card_is_told_to_a_hub() -> None:
    card = json.loads(RECORDED.read_text())
    told = hub_card(card)
    _, head, body = told.split("---\n", 2)
    assert 'name: "top-1", value: 0.' in head
    assert f"value: {card['certificate']['point_pct'] / 100:.6f}" in head
    assert "pipeline_tag: image-classification" in head
    assert f"| parameters | {card['costs']['params']:,} |" in body
    assert "| top1 >= 89% | unknown |" in body
    assert "airplane, automobile, bird" in body
    assert '  - task: {type: image-classification}\n    dataset: {type: "cifar10",' in head


def test_a_device_that_computes_in_fp16_stands_beside_the_score() -> None:
    card = json.loads(RECORDED.read_text())
    assert "| computed in | FP32 |" in hub_card(card)  # of an earlier version
    card["precisions"] = {"certificate": "fp32", "tx2": "fp16", "local": "fp32"}
    assert "| computed in | FP32; tx2 computes in FP16 |" in hub_card(card)


def test_a_requirement_that_was_judged_by_the_difference_says_so() -> None:
    card = json.loads(RECORDED.read_text())
    card["requirements"] = [
        {"text": "top1 >= prototype - 1 (89.5 %)", "certified": "satisfied", "by": "difference"}
    ]
    card["difference"] = {"points": -0.424, "low": -0.9, "high": 0.06, "lower_bound": -0.83}
    told = hub_card(card)
    assert "| top1 >= prototype - 1, by the points above the prototype | satisfied |" in told
    assert "images | -0.42 (-0.90 to +0.06), certified at least -0.83 |" in told


def test_what_others_have_named_stays_in_its_cell() -> None:
    card = json.loads(RECORDED.read_text())
    card["name"] = 'a"b\n---\n| <script>'
    told = hub_card(card)
    assert told.count("---\n") == 2  # the head's own
    assert '# a"b --- \\| &lt;script>' in told
