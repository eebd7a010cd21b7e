"""The run files of CamVid's pedestrians: what they ask for, and the short one, run to its end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gensynth
from gensynth.config_file import read
from gensynth.goals.requirements import parse_all
from tests.places import ROOT

PEDESTRIANS = ROOT / "experiments" / "pedestrians"


def test_a_fifteenth_of_detectnets_work_is_allowed() -> None:
    asked = {r.metric: r for r in parse_all(read(PEDESTRIANS / "run.toml").requirements)}
    assert [asked[name].relative for name in ("macs", "params", "ap50")] == [
        "share", "share", "points",
    ]  # fmt: skip
    assert [asked[name].limit for name in ("macs", "params")] == pytest.approx([1 / 15] * 2)
    assert asked["ap50"].limit == -0.8


def pedestrians(root: Path) -> Path:
    """Dark bars on grey in COCO's JSON, as many images as norms need."""
    random = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for split, count in (("train", 256), ("val", 8), ("test", 8)):
        for _ in range(count):
            number = len(images) + 1
            pixels = random.integers(100, 140, (64, 96, 3), np.uint8)
            left, top = int(random.integers(4, 76)), int(random.integers(4, 28))
            pixels[top : top + 32, left : left + 12] = 10
            Image.fromarray(pixels).save(root / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 64,
                           "split": split})  # fmt: skip
            boxes.append({"id": number, "image_id": number, "category_id": 1,
                          "bbox": [left, top, 12, 32], "area": 384, "iscrowd": 0})  # fmt: skip
    whole = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "person"}]}
    (root / "pedestrians.json").write_text(json.dumps(whole))
    return root / "pedestrians.json"


@pytest.mark.slow
def test_the_short_run_goes_through_from_training_to_pictures(tmp_path: Path) -> None:
    source = str(pedestrians(tmp_path))
    config = read(PEDESTRIANS / "quick.toml", {"data.source": source, "out": str(tmp_path / "run")})
    result = gensynth.synth(config)
    (one,) = result.finalists
    assert one.certificate.score.metric == "ap50"
    assert one.macs <= 0.4 * result.prototype.macs
    assert one.difference is not None
    assert {*one.difference.others} == {"map"}
    assert len(result.pictures) == 4
    assert all(picture.is_file() for picture in result.pictures)
