"""A newcomer's day: what of it counts as a failure, and a short one lived through."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from experiments.door import day


def said(low_pct: float = 50.0, **codes: int) -> dict[str, Any]:
    """What a network's commands have said, all of them well but for some exit codes."""
    found: dict[str, Any] = {
        step: {"code": codes.get(step, 0), "errors": [f"error: in {step}"], "wall_s": 1.0}
        for step in day.commands("mine:lenet")
    }
    certificate = {"low_pct": low_pct, "correct": 200, "n": 600}
    found["synth"] |= {"prototype": {"certificate": certificate}}
    found["synth"] |= {"finalist": {"certificate": certificate}}
    return found


def test_a_command_that_fails_or_a_network_at_chance_is_a_failure_and_a_busy_machine_is_none() -> (
    None
):
    assert day.failure("mine:lenet", said()) is None
    assert day.failure("mine:lenet", said(bench=1)) is None
    assert day.failure("mine:lenet", said(bench=2)) == "bench: error: in bench"
    waiting = said(bench=2)
    waiting["bench"]["errors"] = ["error: local is busy; two at once would disturb each other: run"]
    assert day.failure("mine:lenet", waiting) is None
    assert day.failure("mine:lenet", said(val=1)) == "val: error: in val"
    assert day.failure("mine:lenet", said(33.0)) == "prototype at chance: 200 of 600"
    assert day.failure("mine:lenet", {}) == "inspect: not run"


def test_the_readme_counts_the_families_that_the_record_counts() -> None:
    root = Path(day.__file__).parents[2]
    rows = json.loads((root / "experiments/families/families.json").read_text())["rows"]
    ours = sum(1 for row in rows if row["groups"] and row["half"]["error"] <= 1e-9)
    theirs = sum(1 for row in rows if not row["torch_pruning"]["fault"])
    readme = (root / "README.md").read_text()
    assert readme.count(f"{ours} of {len(rows)} families") == 2
    assert f"{theirs} of the same {len(rows)} (" in readme


def test_a_record_takes_further_networks_of_the_same_images_and_refuses_others() -> None:
    record = {"data": "CIFAR-10", "classes": ["dog"], "images": {"train": 3}}
    day.check_same_images({**record, "networks": {}}, record)
    with pytest.raises(typer.BadParameter, match="the record is of images"):
        day.check_same_images(record, {**record, "images": {"train": 4}})
    kept = day.in_order({"mine:vgg": 1, "mine:stack": 2} | {"mine:lenet": 3})
    assert list(kept) == ["mine:stack", "mine:lenet", "mine:vgg"]


def test_images_are_laid_out_as_a_newcomer_has_them(tmp_path: Path) -> None:
    day.lay_out(tmp_path, None, train=2, test=1)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    assert names == [
        f"images/{split}/{name}/{number:04}.png"
        for split, count in (("test", 1), ("train", 2))
        for name in sorted(day.PICKED["fashion"])
        for number in range(count)
    ]
    with Image.open(tmp_path / names[0]) as image:
        assert image.size == (32, 32)


@pytest.mark.slow
def test_a_day_of_a_network_with_norms_and_one_without_ends_well(tmp_path: Path) -> None:
    words = ["mine:stack", "mine:lenet", "--train", "120", "--test", "60"]
    command = [sys.executable, "-m", "experiments.door.day", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    networks = json.loads((tmp_path / "results.json").read_text())["networks"]
    assert list(networks) == ["mine:stack", "mine:lenet"]
    assert "2 of 2 networks went through" in (tmp_path / "day.md").read_text()
