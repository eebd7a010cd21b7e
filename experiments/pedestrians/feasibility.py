"""What average precision do detectors reach on CamVid's pedestrians, trained from nothing?

    python -m experiments.pedestrians.feasibility --data FOLDER/pedestrians.json [--network NAME]

trains `detectnet` or `small_detector` on the 367 training images, measures the 101 validation
images along the way, and leaves the learning curve in results/NAME.json; the test images are not
read. The boxes are derived from CamVid's class masks: a substitute for Parse27k, which the paper
used, and nothing else. What is kept in --state (see `experiments.longrun`) lets the same command go
on from there.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from experiments.longrun import Schedule, train
from gensynth import atomic_files
from gensynth.data import coco
from gensynth.data.boxes import LEAST_SHOWN, NOBODY, Boxes
from gensynth.data.dataset import Dataset
from gensynth.data.views import normaliser
from gensynth.environment import environment
from gensynth.graph.cost import cost
from gensynth.network.compute import Compute, detect
from gensynth.prototypes import create
from gensynth.randomness import stream
from gensynth.tasks.detection import Detection
from gensynth.trace import trace
from gensynth.training.evaluator import score

RESULTS = Path(__file__).parent / "results"
SEED = 0
SCHEDULE = Schedule(
    epochs=40,
    batch=8,
    peak_lr=0.05,
    warmup_epochs=2,
    weight_decay=5e-4,
    measured_every=5,
    compiled=False,
)
PEAK_LR = {"detectnet": 0.01}
"""Of networks that the schedule's own does not suit: by 0.05 DetectNet's corners leave the image in
the first steps."""

IMAGE = (360, 480)
CROP = (240, 320)
SMALLEST, LIGHT = 0.4, 0.2
"""Least share of an image's height that is shown at once; largest relative change of light."""


def main() -> None:
    """Train, or go on training, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="pedestrians.json of CamVid")
    parser.add_argument("--network", default="detectnet", help="detectnet or small_detector")
    parser.add_argument("--epochs", type=int, default=SCHEDULE.epochs)
    parser.add_argument(
        "--enlarged", type=float, default=1.0, help="times, of images and of what is shown of them"
    )
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "pedestrians")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    name = options.network
    peak_lr = PEAK_LR.get(name, SCHEDULE.peak_lr)
    schedule = replace(SCHEDULE, epochs=options.epochs, peak_lr=peak_lr)
    compute, task = detect(), Detection()
    size = tuple(round(options.enlarged * side) for side in IMAGE)
    data = coco.load(options.data, size=size)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = create(name, classes=1, channels=3)
    costs = cost(trace(network.eval(), torch.zeros(1, *data.shape), name=name))
    curve = train(
        network,
        lambda epoch: views(data, epoch, schedule.batch, options.enlarged),
        len(data.train) // schedule.batch,
        schedule,
        compute,
        state=options.state / f"{name}.state.safetensors",
        curve_file=options.state / f"{name}.curve.jsonl",
        loss=task.loss,
        measure=lambda network: measured(network, data, compute, task),
        say=lambda line: print(line, flush=True),
    )
    weights = save({k: v.contiguous() for k, v in network.state_dict().items()})
    atomic_files.write_bytes(options.state / f"{name}-pedestrians.safetensors", weights)
    record = {
        "question": f"what {name} reaches on CamVid's pedestrians from scratch, validation images",
        "data": "boxes derived from CamVid's class masks, a substitute for Parse27k",
        "command": "python -m experiments.pedestrians.feasibility --data FOLDER/pedestrians.json "
        f"--network {name} --epochs {schedule.epochs} --enlarged {options.enlarged:g}",
        "params": costs.params,
        "macs": costs.macs,
        "input": data.shape,
        "seed": SEED,
        "schedule": asdict(schedule),
        "augmentation": {"crop": CROP, "smallest": SMALLEST, "light": LIGHT, "mirrored": 0.5},
        "train_images": len(data.train),
        "val_images": len(data.search),
        "train_s": round(sum(entry["train_s"] for entry in curve), 1),
        "train_cpu_s": round(sum(entry["cpu_s"] for entry in curve), 1),
        "curve": curve,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "environment": environment(
            device=compute.device, autocast=str(compute.autocast), threads=compute.threads
        ),
    }
    RESULTS.mkdir(exist_ok=True)
    content = (json.dumps(record, indent=2) + "\n").encode()
    atomic_files.write_bytes(RESULTS / f"{name}.json", content)


def measured(
    network: nn.Module, data: Dataset, compute: Compute, task: Detection
) -> dict[str, Any]:
    """Return AP50 with its 95 % interval, and COCO's AP, of the validation images, in percent."""
    found = score(network, data, data.search, compute, task)
    low, high = found.bounds(0.95)
    return {
        "ap50_pct": round(100 * found.value, 2),
        "low_pct": round(100 * low, 2),
        "high_pct": round(100 * high, 2),
        "map_pct": round(float(found.to_document()["map_pct"]), 2),
    }


def views(data: Dataset, epoch: int, batch: int, enlarged: float) -> Iterator[tuple[Tensor, Any]]:
    """Yield an epoch's full batches: parts of images, resized; draws are of (seed, epoch) alone."""
    draws = stream(SEED, "pedestrians", epoch)
    count, normalise = len(data.train), normaliser(data)
    order, chances = draws.permutation(count), draws.random((count, 6))
    for first in range(0, count - batch + 1, batch):
        places = range(first, first + batch)
        shown = [view(data, int(order[place]), chances[place], enlarged) for place in places]
        images = torch.stack([image for image, _ in shown])
        yield normalise(images), Boxes(torch.stack([rows for _, rows in shown]), *CROP)


def view(data: Dataset, index: int, chances: np.ndarray, enlarged: float) -> tuple[Tensor, Tensor]:
    """Return a part of an image at the crop's size, and its boxes in it."""
    image = torch.from_numpy(data.train.images[index]).float()
    rows = torch.from_numpy(data.train.labels[index]).clone()
    share = (SMALLEST + (1 - SMALLEST) * chances[0]) / enlarged
    high, wide = (round(share * size) for size in image.shape[1:])
    top = int(chances[1] * (image.shape[1] - high + 1))
    left = int(chances[2] * (image.shape[2] - wide + 1))
    part = image[None, :, top : top + high, left : left + wide]
    part = F.interpolate(part, CROP, mode="bilinear", antialias=True)[0]
    rows[:, [0, 2]] = (rows[:, [0, 2]] - left) * (CROP[1] / wide)
    rows[:, [1, 3]] = (rows[:, [1, 3]] - top) * (CROP[0] / high)
    if chances[3] < 0.5:
        part = part.flip(2)
        rows[:, [0, 2]] = CROP[1] - rows[:, [2, 0]]
    whole = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    rows[:, [0, 2]], rows[:, [1, 3]] = (
        rows[:, [0, 2]].clamp(0, CROP[1]),
        rows[:, [1, 3]].clamp(0, CROP[0]),
    )
    left_of_it = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    rows[:, 5] = torch.where(left_of_it < LEAST_SHOWN * whole, 1.0, rows[:, 5])
    rows[:, 4] = torch.where(left_of_it > 0, rows[:, 4], float(NOBODY))
    brightness, contrast = (1 + LIGHT * (2 * chances[4:6] - 1)).tolist()
    centre = part.mean()
    return (((part - centre) * contrast + centre) * brightness).clamp(0, 255), rows


if __name__ == "__main__":
    main()
