"""Train the prototype of the CIFAR-10 experiments: ResNet-20, 30 epochs, seed 0.

    python experiments/cifar10/train_prototype.py --data FOLDER

leaves prototype/resnet20-cifar10.safetensors and its record. 45,000 images teach, the
5,000 of the search split measure, the test images are not looked at. Interrupted, it goes
on from the last whole epoch.
"""

import argparse
from pathlib import Path

from gensynth.data import cifar10
from gensynth.training.pretrain import train_prototype

HERE = Path(__file__).parent


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10's binary files")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "prototype.partial.safetensors")
    options = parser.parse_args()
    train_prototype(
        "resnet20",
        cifar10.load(options.data),
        HERE / "prototype",
        checkpoint=options.checkpoint,
        command="python experiments/cifar10/train_prototype.py --data FOLDER",
        progress=lambda share, loss: print(f"\r{share:6.1%}  loss {loss:.3f}", end="", flush=True),
    )


if __name__ == "__main__":
    main()
