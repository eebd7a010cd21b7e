"""The README's picture: accuracy over multiply-accumulates on CIFAR-10, from recorded runs.

    python -m experiments.door.picture      # writes docs/pictures/cifar10.svg; needs matplotlib

Ours are read from the cards in experiments/cifar10; those of others are figures that they published
or that were measured with their code, and `OTHERS` says where each is from.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib

from gensynth.goals.card import read_card

HERE = Path(__file__).parent
RUNS = HERE.parent / "cifar10" / "results"
PROTOTYPE_PCT, PROTOTYPE_MACS_M = 90.39, 40.8
"""Of experiments/cifar10/results/README.md, where the run's own table stands."""
PICTURE = HERE.parent.parent / "docs" / "pictures" / "cifar10.svg"


@dataclass(frozen=True)
class Other:
    """Somebody else's network made from a ResNet-20.

    Attributes:
        name: of the tool.
        macs_m: millions of multiply-accumulates.
        top1_pct: on CIFAR-10's test images.
        of_pct: what the ResNet-20 that it was made from reaches.
        source: where the figures are from.
    """

    name: str
    macs_m: float
    top1_pct: float
    of_pct: float
    source: str


OTHERS = (
    Other(
        "Torch-Pruning",
        11.9,
        89.35,
        91.42,
        "group Taylor with Torch-Pruning 1.6.1 and 30 epochs of distillation, see "
        "experiments/cifar10/results/README.md",
    ),
    Other(
        "ModelOpt FastNAS",
        29.6,
        90.28,
        90.97,
        "NVIDIA Model Optimizer, examples/pruning/cifar_resnet.ipynb, 120 epochs",
    ),
)


def draw() -> None:
    """Write the picture."""
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "gensynth", "font.size": 10})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    cards = [read_card(folder) for folder in sorted(RUNS.glob("**/FermiNet-*"))]
    macs = [card["costs"]["macs"] / 1e6 for card in cards]
    points = [card["certificate"]["point_pct"] for card in cards]
    below = [p - c["certificate"]["lower_bound_pct"] for p, c in zip(points, cards, strict=True)]
    axes.errorbar(
        macs, points, yerr=[below, [0.0] * len(below)], fmt="o", color="#0072b2", capsize=3,
        label=f"gensynth, from {PROTOTYPE_PCT:.1f} %; bars end at the certified bound",
    )  # fmt: skip
    axes.plot(
        PROTOTYPE_MACS_M, PROTOTYPE_PCT, "s", color="#0072b2", markerfacecolor="none",
        label="its prototype, ResNet-20",
    )  # fmt: skip
    for other, (marker, colour) in zip(OTHERS, (("^", "#d55e00"), ("v", "#cc79a7")), strict=True):
        label = f"{other.name}, from {other.of_pct:.1f} %"
        axes.plot(other.macs_m, other.top1_pct, marker, color=colour, label=label)
    axes.set(xlabel="multiply-accumulates, millions", ylabel="top-1 on 10,000 test images, %")
    axes.set(xlim=(0, 45), ylim=(88.5, 91.0))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.patch.set_facecolor("white")  # readable on a dark page too
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    draw()
