"""A newcomer's day: ten networks, a folder of images, and the commands as they stand in the README.

    python -m experiments.door.day FOLDER [NAME ...] --data CIFAR10

lays images of three classes out as PNG files below FOLDER, puts `mine.py` beside them, and takes
every network through `inspect`, `synth --plan`, `synth`, `export`, `verify`, `val` and `bench`,
each a process of its own in FOLDER. Without --data the images are of the Fashion-MNIST subset that
ships.

All is as by default but --cycles, --finalists and --epochs, which make the search short, and the
weights of timm and torchvision, which are not fetched. What a network's commands have said stands
in FOLDER/NAME.json; a command that went well is not run again, so that a second call mends what a
busy machine spoiled. results.json and day.md are written in FOLDER, or with --record beside this
file; there the networks of earlier calls stay, and those of this one come to them or take their
place.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from gensynth import atomic_files
from gensynth.data import cifar10, fashion_mnist
from gensynth.data.dataset import Dataset
from gensynth.environment import environment

HERE = Path(__file__).parent
NETWORKS = {
    "mine:stack": "own, norms",
    "mine:residual": "own, norms",
    "mine:lenet": "own, no norms",
    "mine:vgg": "own, no norms",
    "mine:separable": "own, no norms",
    "torchvision:resnet18": "torchvision",
    "torchvision:squeezenet1_1": "torchvision, no norms",
    "timm:mobilenetv4_conv_small": "timm",
    "timm:tf_mobilenetv3_small_minimal_100": "timm, padded as TensorFlow does",
    "timm:convnext_atto": "timm, layer norms",
}
PICKED = {"cifar10": ("airplane", "dog", "truck"), "fashion": ("trouser", "coat", "sneaker")}
SIDE = 32
SHORT = ("--cycles", "2", "--finalists", "1", "--epochs", "4")
UNFETCHED = ("--set", "prototype.pretrained=false")
REQUIREMENT = "macs <= 50%"
NETWORK = "FermiNet-A"
BUSY = 1
"""Exit code of a `bench` whose figures may not be used, since the machine was busy."""

AT_ONCE = "two at once would disturb each other"
"""In the words of a `bench` that another measurement keeps waiting."""

CHANCE_PCT = 100 / 3
"""Of three classes with as many images each."""

_NO_NETWORK: dict[str, Any] = {"networks": {}, "environments": {}}

Said = dict[str, Any]
"""What a command said: its words, exit code, seconds, and figures."""


def lay_out(folder: Path, data: Path | None, train: int, test: int) -> None:
    """Write `images/train/CLASS/*.png` and `images/test/CLASS/*.png`, and `mine.py`."""
    shutil.copy(HERE / "mine.py", folder)
    if (folder / "images").exists():
        return
    found: Dataset = fashion_mnist.load() if data is None else cifar10.load(data)
    partial = folder / "partial"
    for split, count in ((found.train, train), (found.test, test)):
        for name in PICKED["fashion" if data is None else "cifar10"]:
            place = partial / split.name / name
            place.mkdir(parents=True, exist_ok=True)
            of_class = np.flatnonzero(split.labels == found.classes.index(name))[:count]
            for number, image in enumerate(split.images[of_class]):
                pad = (SIDE - image.shape[-1]) // 2
                padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
                pixels = padded.transpose(1, 2, 0)
                Image.fromarray(pixels if data else pixels[..., 0]).save(place / f"{number:04}.png")
    partial.rename(folder / "images")


def commands(name: str) -> dict[str, list[str]]:
    """Return a network's commands, in order."""
    run = f"runs/{stem(name)}"
    asked = ["synth", "--prototype", name, "--train-prototype", "--data", "images"]
    asked += ["--require", REQUIREMENT, *SHORT, *([] if name.startswith("mine:") else UNFETCHED)]
    return {
        "inspect": ["inspect", name, "--shape", f"3,{SIDE},{SIDE}", "--classes", "3"],
        "plan": [*asked, "--plan"],
        "synth": [*asked, "--out", run],
        "export": ["export", run],
        "verify": ["verify", f"{run}/artefacts/x86-cpu/{NETWORK}"],
        "val": ["val", f"{run}/finalists/{NETWORK}", "--data", "images"],
        "bench": ["bench", run],
    }


def stem(name: str) -> str:
    """Return a network's name as a file's."""
    return name.replace(":", "-")


def run_command(words: list[str], folder: Path) -> Said:
    """Run a command in the folder; return what it said, reduced to its figures."""
    gensynth = Path(sys.executable).with_name("gensynth")
    start = time.perf_counter()
    done = subprocess.run(
        [str(gensynth), *words, "--json"], cwd=folder, capture_output=True, text=True
    )
    said: Said = {
        "command": " ".join(["gensynth", *words]),
        "code": done.returncode,
        "wall_s": round(time.perf_counter() - start, 1),
        "errors": [line for line in done.stderr.splitlines() if "rror: " in line],
    }
    if done.stdout.strip():
        said |= REDUCED.get(words[0], lambda _: {})(json.loads(done.stdout))
    return said


def _of_run(answer: Any) -> Said:
    if "finalists" not in answer:  # a plan
        return {}
    kept = ("costs", "certificate", "verdicts")
    both = {"prototype": answer["prototype"], "finalist": answer["finalists"][0]}
    return {name: {key: one[key] for key in kept} for name, one in both.items()}


def _of_folder(answer: Any) -> Said:
    confusion = answer["confusion"]
    return {"right": sum(row[n] for n, row in enumerate(confusion)), "n": sum(map(sum, confusion))}


def _of_bench(answer: Any) -> Said:
    latencies = {one["name"]: one["latency"] for one in answer["networks"]}
    kept = ("p50_ms", "ci95_ms", "n")
    return {
        "flags": answer["flags"],
        "latency": {name: {key: ms[key] for key in kept} for name, ms in latencies.items()},
    }


REDUCED: dict[str, Callable[[Any], Said]] = {
    "synth": _of_run,
    "val": _of_folder,
    "bench": _of_bench,
}


def live_through(name: str, folder: Path) -> dict[str, Said]:
    """Run what is left of a network's commands; return what all have said."""
    path = folder / f"{stem(name)}.json"
    said: dict[str, Said] = json.loads(path.read_text()) if path.exists() else {}
    for step, words in commands(name).items():
        if step in said and said[step]["code"] == 0 and not said[step].get("flags"):
            continue
        if step == "synth" and (folder / words[-1] / "run.toml").exists():
            words = ["synth", "--resume", words[-1]]
        print(f"{name}: gensynth {' '.join(words)}", file=sys.stderr, flush=True)
        said[step] = run_command(words, folder)
        atomic_files.write_json(path, said)
        if said[step]["code"] != 0:
            break
    return said


def failure(name: str, said: dict[str, Said]) -> str | None:
    """Return what went wrong with a network, None for nothing; a busy machine is no failure."""
    for step in commands(name):
        code = said.get(step, {"code": None})["code"]
        if code != 0 and not (step == "bench" and is_busy(said.get(step))):
            return f"{step}: {'; '.join(said.get(step, {}).get('errors', ['not run']))}"
    for one in ("prototype", "finalist"):
        found = said["synth"][one]["certificate"]
        if found["low_pct"] <= CHANCE_PCT:
            return f"{one} at chance: {found['correct']} of {found['n']}"
    return None


def is_busy(bench: Said | None) -> bool:
    """Return whether a `bench` found the machine busy, or another measurement under way there."""
    if bench is None:
        return False
    return bench["code"] == BUSY or any(AT_ONCE in line for line in bench["errors"])


def table(rows: dict[str, dict[str, Said]]) -> str:
    """Return the record as a table."""
    head = "network kind prototype smaller MACs parameters latency minutes failure".split()
    lines = [head, ["---"] * len(head)]
    for name, said in rows.items():
        failed = failure(name, said)
        minutes = sum(one["wall_s"] for one in said.values()) / 60
        cells = ["", "", "", "", ""]
        if "finalist" in said.get("synth", {}):
            both = [said["synth"][one] for one in ("prototype", "finalist")]
            cells = [_percent(one["certificate"]) for one in both]
            cells += [_share(both, "macs"), _share(both, "params"), _latency(said.get("bench"))]
        lines.append([name, NETWORKS[name], *cells, f"{minutes:.1f}", failed or "none"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(found: Said) -> str:
    return f"{found['point_pct']:.1f} %, {found['low_pct']:.1f} to {found['high_pct']:.1f}"


def _share(both: list[Said], cost: str) -> str:
    whole, small = (one["costs"][cost] for one in both)
    return f"{small:,} of {whole:,}"


def _latency(bench: Said | None) -> str:
    if bench is None or bench["code"] != 0 or "busy" in bench["flags"]:
        return "busy machine"
    whole, small = (ms["p50_ms"] for ms in bench["latency"].values())
    return f"{small:.3f} of {whole:.3f} ms"


def check_same_images(before: dict[str, Any], images: dict[str, Any]) -> None:
    """Refuse to add to a record of other images: the two are no one table.

    Raises:
        typer.BadParameter: if they are others.
    """
    for key, found in images.items():
        if before[key] != found:
            raise typer.BadParameter(f"the record is of {key} {before[key]}, this is {found}")


def in_order(of: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of networks in the order of `NETWORKS`."""
    return {name: of[name] for name in NETWORKS if name in of}


def page(record: dict[str, Any]) -> str:
    """Return the table with what it must not be read without."""
    rows = record["networks"]
    failed = [name for name, said in rows.items() if failure(name, said)]
    splits = ", ".join(f"{count:,} to {split}" for split, count in record["images"].items())
    refused = [n for n, said in rows.items() if said.get("bench", {"code": 0})["code"] > BUSY]
    kept_out = f"\n  Kept out by another measurement: `bench` of {', '.join(refused)}." * bool(
        refused
    )
    kinds = ("processor", "cores", "torch", "onnxruntime")
    made = {tuple(one[kind] for kind in kinds): None for one in record["environments"].values()}
    machines = "; ".join(f"{p}, {c} cores, torch {t}, ONNX Runtime {o}" for p, c, t, o in made)
    return f"""# A newcomer's day

Made by `{record["command"]}`, in one call or several; do not edit.

{table(rows)}

- {len(rows) - len(failed)} of {len(rows)} networks went through `inspect`, `synth --plan`, `synth`,
  `export`, `verify`, `val` and `bench`, and neither they nor what was made from them is at chance.
- Images: {record["data"]}, {", ".join(record["classes"])}, {SIDE} x {SIDE}; {splits}, the same of
  every class. Scores are top-1 on the test images with two-sided 95 % intervals.
- Asked: `{REQUIREMENT}`; all else by default but `{" ".join(SHORT)}`, and for networks of libraries
  `{" ".join(UNFETCHED)}`, which trains them from nothing. {SIDE} pixels are few for what was made
  for 224, and so are these images: the scores say that the way is open, not what a network can.
- Latency: median of one image, one thread, of the smaller network and its prototype in turns.
  Minutes are of all commands; a busy machine has no latency, and long minutes.{kept_out}
- On: {machines}.
"""


def main(
    folder: Path,
    names: Annotated[list[str] | None, typer.Argument()] = None,
    data: Annotated[Path | None, typer.Option(help="CIFAR-10's official binary files.")] = None,
    train: Annotated[int, typer.Option(help="Training images of a class.")] = 250,
    test: Annotated[int, typer.Option(help="Test images of a class.")] = 200,
    record: Annotated[bool, typer.Option("--record", help="Keep it beside the script.")] = False,
) -> None:
    """Live through the day; end with 1 if anything failed."""
    folder.mkdir(parents=True, exist_ok=True)
    lay_out(folder, data, train, test)
    classes = sorted(path.name for path in (folder / "images" / "train").iterdir())
    images = {
        "data": "CIFAR-10" if data else "the Fashion-MNIST subset that ships",
        "classes": classes,
        "images": {s: len(classes) * n for s, n in (("train", train), ("test", test))},
    }
    path = (HERE if record else folder) / "results.json"
    before = json.loads(path.read_text()) if path.exists() else {**images, **_NO_NETWORK}
    check_same_images(before, images)
    rows = {name: live_through(name, folder) for name in names or NETWORKS}
    found = {
        "command": "python -m experiments.door.day FOLDER NAME ..."
        + " --data CIFAR10" * bool(data),
        **images,
        "networks": in_order({**before["networks"], **rows}),
        "environments": in_order(
            {**before["environments"], **dict.fromkeys(rows, environment(threads=1))}
        ),
    }
    atomic_files.write_json(path, found)
    path.with_name("day.md").write_text(page(found))
    failed = {name: why for name, said in rows.items() if (why := failure(name, said))}
    for name, why in failed.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
