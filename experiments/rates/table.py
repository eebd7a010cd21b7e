"""Whether the learning rates that are found suit networks of every kind: none ends at chance.

    python experiments/rates/table.py FOLDER [NAME ...]

trains each network of `networks` for the Fashion-MNIST subset as --train-prototype does, searches
for smaller ones midway between its MACs and the fewest that can be, and writes a line a network to
FOLDER/rates.jsonl: the rates that were found, and the scores on the search split of the prototype,
of the cycles' networks and of the finalist. All is as by default but --cycles and --epochs, which
make the runs shorter.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from gensynth.config import FinalistsConfig, PrototypeConfig, RunConfig, SearchConfig
from gensynth.runs.prepare import prepare
from gensynth.runs.run import resume, synth

HERE = Path(__file__).parent
NAMES = (
    "lenet", "tanh", "vgg", "vgg_norm", "residual", "residual_norm", "depthwise",
    "depthwise_norm", "prelu", "wide", "narrow",
)  # fmt: skip


def row(name: str, folder: Path, cycles: int, epochs: float) -> dict[str, Any]:
    """Return one network's line; its run stays in the folder."""
    config = RunConfig(
        requirements=(),
        out=folder / name,
        modules=(HERE,),
        prototype=PrototypeConfig(network=f"networks:{name}", train=True),
        search=SearchConfig(cycles=cycles),
        finalists=FinalistsConfig(count=1, epochs=epochs),
    )
    space = prepare(config).space
    least, macs = (int(space.named_costs(p)["macs"]) for p in (space.smallest(), space.whole(1)))
    asked = replace(config, requirements=(f"macs <= {(least + macs) // 2}",))
    done = resume(folder / name) if (folder / name).exists() else synth(asked)
    training = json.loads((done.path / "prototype" / "training.json").read_text())
    journal = [json.loads(line) for line in (done.path / "journal.jsonl").read_text().splitlines()]
    return {
        "network": name,
        "macs": macs,
        "training": {key: training[key] for key in ("learning_rate", "scaled_first_weights")},
        "prototype_top1_pct": training["search"]["top1_pct"],
        "learning_rate": journal[0]["learning_rate"],
        "cycles_top1_pct": [entry["top1_pct"] for entry in journal[1:]],
        "finalist_top1_pct": 100 * done.finalists[0].search_score.value,
        "chance_pct": 10.0,
    }


def main(
    folder: Path,
    names: Annotated[list[str] | None, typer.Argument()] = None,
    cycles: int = 2,
    epochs: float = 4,
) -> None:
    """Write a line a network, those that stand there left out; a run that was stopped goes on."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "rates.jsonl"
    lines = record.read_text().splitlines() if record.exists() else []
    known = {json.loads(line)["network"] for line in lines}
    for name in names or NAMES:
        if name not in known:
            line = json.dumps(row(name, folder, cycles, epochs))
            with record.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    typer.run(main)
