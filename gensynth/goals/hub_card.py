"""A network's card in the form of a model hub: README.md, with a head of YAML that a hub reads.

It says nothing that the card beside it does not say; that one is for programs, and is what is
checked. Strings in the head are written as JSON has them, which is YAML too.
"""

import json
from collections.abc import Mapping
from typing import Any

from gensynth.goals import metrics
from gensynth.goals.relative import as_asked

HUB_FILE = "README.md"
_PIPELINES = {
    metrics.PIXEL_ACCURACY.name: "image-segmentation",
    metrics.CLASS_ACCURACY.name: "image-segmentation",
    metrics.MIOU.name: "image-segmentation",
    metrics.AP50.name: "object-detection",
    metrics.MAP.name: "object-detection",
}
_METRICS = {metrics.TOP1.name: "accuracy", metrics.MIOU.name: "mean_iou"}


def hub_card(card: Mapping[str, Any]) -> str:
    """Return a card as Markdown.

    Args:
        card: as `gensynth.goals.card.read_card` returns it, with the run's data.
    """
    certificate, data = card["certificate"], card["data"]
    metric = certificate["metric"]
    title = metrics.find(metric, "a card").title
    pipeline = _PIPELINES.get(metric, "image-classification")
    head = f"""\
---
library_name: onnx
pipeline_tag: {pipeline}
tags: [gensynth, onnx, compressed]
datasets: [{_text(data["name"])}]
model-index:
- name: {_text(card["name"])}
  results:
  - task: {{type: {pipeline}}}
    dataset: {{type: {_text(data["name"])}, name: {_text(data["name"])}, split: test}}
    metrics:
    - {{type: {_METRICS.get(metric, metric)}, name: {_text(title)}, value: {_share(certificate)}}}
---
"""
    rows = [
        (title, f"{certificate['point_pct']:.2f} %"),
        ("95 % interval", f"{certificate['low_pct']:.2f} to {certificate['high_pct']:.2f} %"),
        ("test images", f"{certificate.get('n', 0):,}"),
        ("computed in", _precisions(card)),
        ("parameters", f"{card['costs']['params']:,}"),
        ("MACs", f"{card['costs']['macs']:,}"),
        *_against_prototype(card),
        *((_requirement(one), one["certified"]) for one in card["requirements"]),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    shape = " x ".join(map(str, data["shape"]))
    classes = ", ".join(map(_cell, data["classes"][:50]))
    return f"""{head}
# {_cell(card["name"])}

{_cell(card["what"])[:1].upper()}{_cell(card["what"])[1:]}, by gensynth.

| | |
|---|---|
{table}

It reads images of {shape} (channels, height, width) as {_cell(card["reads"])}, with mean
{json.dumps(data["mean"])} and standard deviation {json.dumps(data["std"])}.

Classes: {classes or "none"}.

`card.json` beside this file says how each figure was measured, and of which files it holds.
"""


def _against_prototype(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how far it is from its prototype, where a requirement was judged by that."""
    if not any(one.get("by") == "difference" for one in card["requirements"]):
        return []
    found = card["difference"]
    value = (
        f"{found['points']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}), "
        f"certified at least {found['lower_bound']:+.2f}"
    )
    return [("points above the prototype, same test images", value)]


def _requirement(one: Mapping[str, Any]) -> str:
    """Return a requirement's text, and where it was not judged by the limit in it, by what."""
    if one.get("by") == "difference":
        return f"{_cell(as_asked(one['text']))}, by the points above the prototype"
    return _cell(one["text"])


def _precisions(card: Mapping[str, Any]) -> str:
    """Return what the score was computed in, and what a run's devices compute in."""
    told = {name: of.upper() for name, of in card.get("precisions", {}).items()}
    own = told.pop("certificate", "FP32")
    others = [f"{_cell(name)} computes in {of}" for name, of in told.items() if of != own]
    return "; ".join([own, *others])


def _share(certificate: Mapping[str, Any]) -> str:
    return f"{certificate['point_pct'] / 100:.6f}"


def _text(value: Any) -> str:
    return json.dumps(str(value))


def _cell(value: Any) -> str:
    """Return a text of others that stays within its line and its cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
