"""What pixel accuracy does RefineNet reach on CamVid, trained from nothing on 367 images?

    python -m experiments.camvid.feasibility --data FOLDER

trains `gensynth.prototypes.refinenet` on the training images, measures the 101 validation
images along the way, and leaves the learning curve in results/feasibility.json; the test
images are not read. FOLDER holds CamVid in the SegNet layout. The state of the training and
the weights at its end are kept in --state (see `experiments.longrun`), and the same command
goes on from there.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn

from experiments.camvid import images
from experiments.longrun import Schedule, train
from gensynth import atomic_files
from gensynth.environment import environment
from gensynth.graph.cost import cost
from gensynth.network.compute import Compute, detect
from gensynth.prototypes.refinenet import refinenet
from gensynth.trace import trace

RECORD = Path(__file__).parent / "results" / "feasibility.json"
COMMAND = "python -m experiments.camvid.feasibility --data FOLDER"
SEED = 0
# Compiling takes minutes here and makes a step slower: 7.0 s of processor time for 4.0 s.
SCHEDULE = Schedule(
    epochs=60,
    batch=4,
    peak_lr=0.05,
    warmup_epochs=3,
    weight_decay=5e-4,
    measured_every=5,
    compiled=False,
)
AUGMENTATION = images.Augmentation(crop=(240, 320), smallest=0.5, light=0.2)


def main() -> None:
    """Train, or go on training, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CamVid in the SegNet layout")
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir()) / "camvid-feasibility"
    )
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    compute = detect()
    teaching, held_out = images.load(options.data, "train"), images.load(options.data, "val")
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = refinenet(classes=len(images.CLASSES))
    size = tuple(held_out.images.shape[1:])
    costs = cost(trace(network.eval(), torch.zeros(1, *size), name="refinenet"))

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return images.views(teaching, AUGMENTATION, SEED, epoch, SCHEDULE.batch)

    curve = train(
        network,
        batches,
        len(teaching) // SCHEDULE.batch,
        SCHEDULE,
        compute,
        state=options.state / "refinenet.state.safetensors",
        curve_file=options.state / "refinenet.curve.jsonl",
        loss=cross_entropy,
        measure=lambda network: asdict(score(network, held_out, compute)),
        say=lambda line: print(line, flush=True),
    )
    weights = save({k: v.contiguous() for k, v in network.state_dict().items()})
    atomic_files.write_bytes(options.state / "refinenet-camvid.safetensors", weights)
    record = {
        "question": "what RefineNet reaches on CamVid from scratch, on the validation images",
        "command": COMMAND,
        "prototype": "gensynth.prototypes.refinenet:refinenet",
        "params": costs.params,
        "macs": costs.macs,
        "input": size,
        "seed": SEED,
        "schedule": asdict(SCHEDULE),
        "augmentation": asdict(AUGMENTATION),
        "loss": "cross-entropy of a pixel, void left out, all classes alike",
        "train_images": len(teaching),
        "val_images": len(held_out),
        "val_pixels": int((held_out.masks != images.VOID).sum()),
        "classes": images.CLASSES,
        "train_s": round(sum(entry["train_s"] for entry in curve), 1),
        "train_cpu_s": round(sum(entry["cpu_s"] for entry in curve), 1),
        "curve": curve,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "environment": environment(
            device=compute.device, autocast=str(compute.autocast), threads=compute.threads
        ),
    }
    RECORD.parent.mkdir(exist_ok=True)
    atomic_files.write_bytes(RECORD, (json.dumps(record, indent=2) + "\n").encode())


def cross_entropy(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(batch, classes, h, w) and (batch, h, w) -> scalar, mean over the pixels not void."""
    return F.cross_entropy(logits, masks, ignore_index=images.VOID)


@torch.no_grad()
def score(network: nn.Module, split: images.Split, compute: Compute) -> images.Scores:
    """Score a network on whole images."""
    counts = torch.zeros(len(images.CLASSES), len(images.CLASSES), dtype=torch.int64)
    for first in range(0, len(split), 4):
        some = slice(first, first + 4)
        with compute.precision():
            logits: Any = network(images.normalised(split.images[some]))
        counts += images.confusion(logits.argmax(dim=1), split.masks[some])
    return images.scores(counts)


if __name__ == "__main__":
    main()
