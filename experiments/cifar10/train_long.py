"""Train better prototypes for CIFAR-10: ResNet-20 and ResNet-56, hundreds of epochs, seed 0.

    python -m experiments.cifar10.train_long --name resnet20 --data FOLDER

keeps `resnet20-long-cifar10.state.safetensors` and the learning curve,
`resnet20-long-cifar10.curve.jsonl`, in experiments/cifar10/prototype after every epoch, and
the same command goes on from there. At the end it leaves weights and record beside them.

45,000 images teach, and the 5,000 of the search split are measured along the way. Nothing
was chosen by either the curve or the test images: the weights are those of the last epoch,
and the 10,000 test images are looked at once, when they are ready.

No label smoothing: these networks are to be teachers, and smoothing takes from a teacher
what it knows of the likeness of classes (Müller, Kornblith and Hinton, arXiv:1906.02629).
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn

from experiments.longrun import Schedule, train
from gensynth import atomic_files
from gensynth.data import cifar10
from gensynth.data.dataset import Dataset
from gensynth.data.views import Views
from gensynth.environment import environment
from gensynth.goals.score import in_percent
from gensynth.network.compute import Compute, detect
from gensynth.prototypes import create
from gensynth.tasks.classification import Classification
from gensynth.training.evaluator import score

FOLDER = Path(__file__).parent / "prototype"
COMMAND = "python -m experiments.cifar10.train_long --name {name} --data FOLDER"
SEED = 0
SCHEDULE = Schedule(
    epochs=200,
    batch=128,
    peak_lr=0.1,
    warmup_epochs=5,
    weight_decay=5e-4,
    measured_every=5,
    compiled=True,
)
NAMES = ("resnet20", "resnet56")


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", choices=NAMES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10's binary files")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of state and results")
    options = parser.parse_args()
    stem = f"{options.name}-long-cifar10"
    record: Path = options.out / f"{stem}.json"
    if record.exists():
        print(f"{record} is there: this prototype is trained")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    dataset, compute = cifar10.load(options.data), detect()
    network, curve = trained(options.name, dataset, compute, options.out / stem)
    reached = {
        split.name: {
            **in_percent(score(network, dataset, split, compute, Classification())),
            "interval": "two-sided 95 % Wilson",
        }
        for split in (dataset.search, dataset.test)
    }
    weights = save(
        {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in network.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
    )
    facts = {
        "prototype": options.name,
        "command": COMMAND.format(name=options.name),
        "data": dataset.name,
        "data_source": dataset.source,
        "mean": dataset.mean,
        "std": dataset.std,
        "augmentation": asdict(dataset.augmentation),
        "seed": SEED,
        "schedule": asdict(SCHEDULE),
        "train_images": len(dataset.train),
        "train_s": round(sum(entry["train_s"] for entry in curve), 1),
        "train_cpu_s": round(sum(entry["cpu_s"] for entry in curve), 1),
        **reached,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "environment": environment(
            device=compute.device, autocast=str(compute.autocast), threads=compute.threads
        ),
    }
    atomic_files.write_bytes(options.out / f"{stem}.safetensors", weights)
    atomic_files.write_bytes(record, (json.dumps(facts, indent=2) + "\n").encode())
    print(f"{record}: {reached}")


def trained(
    name: str, dataset: Dataset, compute: Compute, stem: Path
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Return the network at the end of the schedule, and its learning curve."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = create(name, classes=len(dataset.classes), channels=dataset.shape[0])
    views = Views(dataset, dataset.train, SEED, compute.device)

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in views.epoch(epoch, SCHEDULE.batch):
            yield batch.images, batch.targets

    def measure(network: nn.Module) -> dict[str, Any]:
        found = score(network, dataset, dataset.search, compute, Classification())
        return {"search_top1_pct": round(100 * found.value, 2), "n": found.n}

    curve = train(
        network,
        batches,
        len(views) // SCHEDULE.batch,
        SCHEDULE,
        compute,
        state=stem.with_name(f"{stem.name}.state.safetensors"),
        curve_file=stem.with_name(f"{stem.name}.curve.jsonl"),
        loss=F.cross_entropy,
        measure=measure,
        say=lambda line: print(line, flush=True),
    )
    return network, curve


if __name__ == "__main__":
    main()
