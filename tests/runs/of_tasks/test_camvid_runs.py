"""The run files of CamVid: what they ask for, and the short one run on a few small images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gensynth
from gensynth.config_file import read
from gensynth.goals.requirements import cost_limits, parse_all
from tests.places import ROOT

CAMVID = ROOT / "experiments" / "camvid"
PARAMS, MACS = 1_909_835, 3_239_754_240  # of RefineNet on 360 x 480, see its module


@pytest.mark.parametrize("file", ["run.toml", "quick.toml"])
def test_a_network_is_to_be_ten_times_as_dense_and_six_times_as_cheap(file: str) -> None:
    limits = cost_limits(parse_all(read(CAMVID / file).requirements))
    assert PARAMS / limits["params"] >= 10
    assert MACS / limits["macs"] >= 6


def camvid(root: Path) -> Path:
    """Sky above road in CamVid's layout, as many images as norms need."""
    random = np.random.default_rng(0)
    for split, count in (("train", 256), ("val", 8), ("test", 8)):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number in range(count):
            horizon = int(random.integers(16, 48))
            pixels = random.integers(60, 90, (64, 96, 3), np.uint8)
            pixels[:horizon] += 120
            mask = np.full((64, 96), 3, np.uint8)
            mask[:horizon], mask[horizon] = 0, 11
            Image.fromarray(pixels).save(root / split / f"{number}.png")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{number}.png")
    return root


@pytest.mark.slow
def test_the_short_run_goes_through_from_the_prototype_to_pictures(tmp_path: Path) -> None:
    config = read(
        CAMVID / "quick.toml",
        {
            "data.folder": str(camvid(tmp_path / "camvid")),
            "out": str(tmp_path / "run"),
            "requirements": ["pixel_accuracy >= 1%", "params <= 190k"],
        },
    )
    result = gensynth.synth(config)
    (one,) = result.finalists
    assert one.params <= 190_000
    assert one.certificate.score.metric == "pixel_accuracy"
    assert one.difference is not None
    assert all(picture.is_file() for picture in result.pictures)
    assert len(result.pictures) == 4
