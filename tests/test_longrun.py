"""A training that is stopped and taken up again ends as one that was not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from experiments.longrun import Schedule, train
from gensynth.network.compute import Compute

SCHEDULE = Schedule(
    epochs=4,
    batch=8,
    peak_lr=0.1,
    warmup_epochs=1,
    weight_decay=1e-3,
    measured_every=3,
    compiled=False,
)


class Stopped(Exception):
    """What a person's Ctrl-C is here."""


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
        )


def batches(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    draws = torch.Generator().manual_seed(epoch)
    for _ in range(3):
        images = torch.randn(8, 1, 8, 8, generator=draws)
        yield images, (images.mean(dim=(1, 2, 3)) > 0).long()


def run(
    folder: Path, *, schedule: Schedule = SCHEDULE, stop_before: int | None = None
) -> tuple[nn.Module, list[dict[str, Any]], list[str]]:
    def until(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if epoch == stop_before:
            raise Stopped
        return batches(epoch)

    trained, lines = network(), list[str]()
    curve = train(
        trained,
        until,
        3,
        schedule,
        Compute(),
        state=folder / "state.safetensors",
        curve_file=folder / "curve.jsonl",
        loss=F.cross_entropy,
        measure=lambda network: {"training": network.training},
        say=lines.append,
    )
    return trained, curve, lines


def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected, _, _ = run(whole)
    for epoch in (1, 3):
        with pytest.raises(Stopped):
            run(parts, stop_before=epoch)
    found, _, lines = run(parts)
    assert len([line for line in lines if line.startswith("epoch")]) == 1
    tensors = found.state_dict()
    assert all(torch.equal(tensors[name], t) for name, t in expected.state_dict().items())
    # And what is trained already is not trained further.
    again, curve, lines = run(parts)
    assert (len(curve), lines) == (4, [])
    assert all(torch.equal(tensors[name], t) for name, t in again.state_dict().items())


def test_the_curve_has_a_line_an_epoch_and_measures_as_often_as_asked(tmp_path: Path) -> None:
    _, curve, lines = run(tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert kept == curve
    assert [entry["epoch"] for entry in curve] == [1, 2, 3, 4]
    assert [entry.get("training") for entry in curve] == [None, None, False, False]
    assert lines[-1].endswith("training False  of 4, 0 min left")


def test_a_state_of_another_schedule_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = Schedule(**{**vars(SCHEDULE), "peak_lr": 0.2})
    with pytest.raises(SystemExit, match="is the state of another schedule, .*0.1"):
        run(tmp_path, schedule=other)


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    # By hand: half way up the rise; the peak; a third of the way down, (1 + cos 60) / 2; the end.
    rates = [SCHEDULE.rate(epochs) for epochs in (0.5, 1.0, 2.0, 4.0)]
    assert rates == pytest.approx([0.05, 0.1, 0.075, 0.0])
