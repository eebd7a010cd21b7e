"""The doors of what users bring: tables, checkpoints, settings, limits, ONNX files of others."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
import torch
from onnx import helper
from PIL import Image
from safetensors.torch import save

from gensynth import config_file
from gensynth.cli.template import template
from gensynth.data import table as images_of_tables
from gensynth.export.metadata import described, keeping_in_fp32
from gensynth.export.targets import names
from gensynth.goals.relative import settle
from gensynth.goals.requirements import parse_all
from gensynth.prototypes.checkpoint import load_weights
from gensynth.uses.foreign import export_file
from gensynth.uses.predict import predict
from tests.fuzz.mutations import of_bytes, of_json, of_proto, of_text
from tests.onnx_files.small import convolution
from tests.onnx_files.written import written

Try = Callable[[Random], None]

SETTINGS = (
    "search.cycles=24", "data.augment=none", "data.augment=trivial_augment", "data.colour=bgr",
    "prototype.arguments={depth = 3}", "prototype.network=resnet20", "device.tx2.precision=fp16",
    "data.source=folder:here", "data.mean=[0.5]", "train.epochs=3", "seed=1", "task.kind=detect",
    'requirements=["macs <= 50%"]', "utility=netscore", "latency.repeats=9", "out=x",
)  # fmt: skip
SETTING_WORDS = (
    "=", ".", "[", "]", "{", "}", '"', "'", ",", "1", "-1", "1e999", "nan", "9" * 5000, "true",
    "prototype", "arguments", "data", "augment", "search", "device", "tx2", "train", "seed", "a",
    "0x" + "f" * 5000, "1979-05-27", "[" * 500, "{a=" * 300, "\n", "#", "\x00", "é", " ", "none",
)  # fmt: skip
LIMITS = (
    "macs <= 50%", "top1 >= prototype - 1", "params <= 33.3% (1,234)", "macs <= 50% (6,172,838)",
    "top1 >= prototype - 1 (89.5 %)", "recall:a >= 90%", "latency_ms@tx2 <= 50%", "miou >= 40%",
)  # fmt: skip
LIMIT_WORDS = (
    ">=", "<=", "top1", "macs", "params", "prototype", "-", "+", "%", "(", ")", " ", "1", "50",
    "1e999", "9" * 400, "0", ",", "recall", ":", "a", "@", "tx2", ".", "nan", "1e-400", "-50%",
    "prototype - 1e308", "100%",
)  # fmt: skip


def settings(place: Path) -> Try:
    """Return the door of --set, and of the run file that is written of it."""

    def attempt(random: Random) -> None:
        texts = [
            of_text(random, SETTING_WORDS, SETTINGS) if random.randrange(3)
            else random.choice(SETTINGS)
            for _ in range(random.choice((1, 1, 2, 3)))
        ]  # fmt: skip
        given = config_file.assigned(texts)
        config_file.to_toml(config_file.read(None, given))
        template(given)

    return attempt


def limits(place: Path) -> Try:
    """Return the door of limits that are relative to the prototype."""
    known = {"macs": 12_345_676.0, "params": 1e5, "top1": 90.5}

    def attempt(random: Random) -> None:
        texts = [of_text(random, LIMIT_WORDS, LIMITS) for _ in range(random.choice((1, 1, 2)))]
        read = settle(parse_all(texts), known)
        settle(parse_all(one.text for one in read), known)

    return attempt


def table(place: Path) -> Try:
    """Return the door of a table of images."""
    for name in "abc":
        Image.fromarray(np.full((9, 9, 3), ord(name), np.uint8)).save(place / f"{name}.png")
    rows = "path,label,split\n" + "".join(
        f"{file}.png,{label},{split}\n"
        for split in ("train", "val", "test")
        for file, label in (("a", "0"), ("b", "1"), ("c", "two"))
    )
    words = (*rows.replace("\n", ",\n,").split(","), ",", "\n", '"', "\r", "\x00", "é", "..",
             "9" * 5000, " ", ";", "\ufeff")  # fmt: skip

    def attempt(random: Random) -> None:
        text = of_text(random, words, (rows,)).encode("utf-8", "surrogatepass")
        (place / "all.csv").write_bytes(of_bytes(random, text) if random.randrange(2) else text)
        images_of_tables.load(place / "all.csv", size=random.choice((None, 8)))

    return attempt


def checkpoint(place: Path) -> Try:
    """Return the door of weights as torch.save and safetensors write them."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = dict(module.state_dict())
    held = [
        state, {"state_dict": state, "epoch": 3}, {"model": {"module." + k: t for k, t in
        state.items()}}, [1, 2], {"a": 1}, None, {1: state["0.weight"]}, module,
    ]  # fmt: skip
    good = [save(state)]
    for number, one in enumerate(held):
        torch.save(one, place / f"{number}.pth", _use_new_zipfile_serialization=bool(number % 3))
        good.append((place / f"{number}.pth").read_bytes())

    def attempt(random: Random) -> None:
        (place / "tried.pth").write_bytes(of_bytes(random, random.choice(good)))
        load_weights(module, place / "tried.pth", name="own")

    return attempt


def foreign(place: Path) -> Try:
    """Return the door of an ONNX file of others that is brought to a target."""
    files = [
        convolution(),
        written(
            place / "a.onnx",
            "g (float[N,3,8,8] x) => (float[N,2] y) { c = Conv <pads = [1,1,1,1]> (x, w)"
            " r = Relu (c) g = GlobalAveragePool (r) f = Flatten (g) y = MatMul (f, v) }",
            w=np.ones((4, 3, 3, 3), np.float32), v=np.ones((4, 2), np.float32),
        ).read_bytes(),
    ]  # fmt: skip
    models = [onnx.load_from_string(content) for content in files]

    def attempt(random: Random) -> None:
        (place / "tried.onnx").write_bytes(of_proto(random, random.choice(models)))
        precision = random.choice(("fp32", "fp16"))
        export_file(
            place / "tried.onnx", random.choice(names()), precision=precision,
            batch=random.choice((None, None, 2)), out=place / "made.onnx",
        )  # fmt: skip

    return attempt


def told(place: Path) -> Try:
    """Return the door of what an ONNX file says of itself: how it reads images, and its classes."""
    content = written(
        place / "a.onnx",
        "g (float[N,3,8,8] x) => (float[N,2] y)"
        "{ g = GlobalAveragePool (x) f = Flatten (g) y = MatMul (f, v) }",
        v=np.ones((3, 2), np.float32),
    ).read_bytes()
    reads = {
        "formula": "", "mode": "RGB", "colour": "rgb", "height": 8, "width": 8,
        "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2],
    }  # fmt: skip
    facts = {"classes": ["a", "b"], "reads": reads, "task": "class", "requirements": ["macs <= 1"]}
    model = onnx.load_from_string(
        keeping_in_fp32(described(content, name="net", facts=facts), ["f"])
    )
    picture = place / "a.png"
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(picture)
    kept = {entry.key: entry.value for entry in model.metadata_props}

    def attempt(random: Random) -> None:
        key = random.choice(list(kept))
        value: object = kept[key]
        if key != "task":
            value = json.loads(kept[key])
        altered = of_json(random, value).decode("utf-8", "replace")
        helper.set_model_props(model, {**kept, key: altered})
        (place / "tried.onnx").write_bytes(model.SerializeToString())
        predict(place / "tried.onnx", [picture])

    return attempt


DOORS: dict[str, Callable[[Path], Try]] = {
    "settings": settings,
    "limits": limits,
    "table": table,
    "checkpoint": checkpoint,
    "foreign": foreign,
    "told": told,
}
