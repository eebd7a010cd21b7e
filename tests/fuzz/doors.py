"""The doors of the host's own files: each tries one altered input, and lets only our errors out."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from gensynth import config_file
from gensynth.data import folder as image_folder
from gensynth.devices import registry
from gensynth.errors import GensynthError
from gensynth.export.source import compute
from gensynth.goals.devices import placed
from gensynth.goals.requirements import cost_limits, parse_all
from gensynth.goals.utility import Utility
from gensynth.network.files import load_network, save_network
from gensynth.network.module import Network
from gensynth.runs.family import open_generator
from gensynth.runs.result import read_result
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.tasks import open_task
from tests.fuzz.mutations import of_bytes, of_json, of_text
from tests.networks.compositions import compose
from tests.places import ROOT
from tests.search.spaces import space_of, theta_of

Try = Callable[[Random], None]
"""Alters good input with these random numbers and brings it in."""

RECORDED = ROOT / "experiments" / "cifar10" / "results"


def graph(place: Path) -> Try:
    """Return the door of graph.json, and of the weights beside it."""
    folders = []
    for seed in range(12):
        network = Network(compose(seed, operators=8))
        for tensor in network.state_dict().values():
            torch.nn.init.uniform_(tensor, 0.1, 0.2)
        save_network(network, place / str(seed))
        folders.append(place / str(seed))
    documents = [json.loads((folder / "graph.json").read_text()) for folder in folders]
    weights = [(folder / "weights.safetensors").read_bytes() for folder in folders]

    def attempt(random: Random) -> None:
        which = random.randrange(len(folders))
        at = place / "tried"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(folders[which], at)
        if random.randrange(5):
            (at / "graph.json").write_bytes(of_json(random, documents[which]))
        else:
            (at / "weights.safetensors").write_bytes(of_bytes(random, weights[which]))
        network = load_network(at)
        images = [np.zeros((1, *vertex.shape), np.float32) for vertex in network.graph.inputs]
        if len(images) == 1:
            compute(network, images[0])

    return attempt


def generator(place: Path) -> Try:
    """Return the door of generator.json and inquisitor.json."""
    folders = []
    for number, name in enumerate(("resnet8", "dense")):
        space = space_of(name)
        at = place / str(number)
        (at / "prototype").mkdir(parents=True)
        (at / "prototype" / "graph.json").write_text(space.coupling.graph.to_json())
        (at / "generator.json").write_text(Generator(space, theta_of(space)).to_json())
        learned = {"inquisitor": _inquisitor(space).to_document(), "price": 1.0, "anchor": {}}
        (at / "inquisitor.json").write_text(json.dumps(learned))
        folders.append(at)
    files = ("generator.json", "inquisitor.json", "prototype/graph.json")
    documents = [[json.loads((f / name).read_text()) for name in files] for f in folders]

    def attempt(random: Random) -> None:
        which, file = random.randrange(len(folders)), random.choice((0, 0, 0, 1, 1, 2))
        at = place / "tried"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(folders[which], at)
        (at / files[file]).write_bytes(of_json(random, documents[which][file]))
        with np.errstate(all="ignore"):
            found, inquisitor = open_generator(at)
            points = found.points([0, 1])
            found.graph(points, 0, 0)
            inquisitor.interval(points.take([0]), 1)

    return attempt


def _inquisitor(space: Any) -> Inquisitor:
    from gensynth.goals.score import of_counts
    from gensynth.search.importance import Importance
    from gensynth.search.inquisitor import FULL, SHORT, Divergence, Observation

    importance = Importance(
        channel_nats=tuple(np.full(size, 0.5) for size in space.sizes),
        block_nats=np.ones(len(space.coupling.blocks)),
        effective_rank=np.full(len(space.sizes), 2.0),
        curvature=1.0,
    )
    point = space.whole(1)[0]
    return Inquisitor(
        space,
        importance,
        (Divergence(point, 0.5, 1),),
        (
            Observation(point, SHORT, of_counts(80, 100)),
            Observation(point, FULL, of_counts(90, 100)),
        ),
    )


COMPARED = (">=", "<=", ">", "<", "=", "==")
REQUIREMENT_WORDS = (
    *COMPARED, "top1", "macs", "params", "latency_ms", "netscore", "@", "local", "board", " ",
    "size_mib", "peak_mib", "img_per_joule", "power_w", "MiB", "kB", "us", "/J", "mW",
    "\N{MICRO SIGN}s",
    "20M", "5", "1e999", "1e-999", "-1", "inf", "nan", "%", "k", "M", "G", "0", ".", "9" * 400,
    "1e+308G",
)  # fmt: skip
REQUIREMENTS = (
    "top1 >= 89%", "macs <= 20M", "latency_ms@local <= 5", "netscore >= 100",
    "img_per_joule@tx2 >= 40/J", "size_mib <= 900kB", "latency_ms <= 200us",
)  # fmt: skip


def requirements(place: Path) -> Try:
    """Return the door of requirements."""

    def attempt(random: Random) -> None:
        texts = [
            of_text(random, REQUIREMENT_WORDS, REQUIREMENTS)
            for _ in range(random.choice((1, 1, 2)))
        ]
        read = parse_all(texts)
        cost_limits(read)
        parse_all(r.text for r in placed(read, Utility("throughput"))[0])

    return attempt


UTILITY_WORDS = (
    "top1", "macs", "params", "params_m", "macs_g", "netscore", "information_density", "latency_ms",
    "log10", "log", "sqrt", "min", "max", "(", ")", "+", "-", "*", "/", "**", "%", ",", ".", "x",
    ".a", "1", "1e999", "0", " ", "[", "]", "lambda:", "f'", "'", "{", "}", "~", "not ", ":=",
    "if ", "1_0", "0x", "1j", "...", "\n", "\\", "#", "await ", "*a", "1 if 1 else ", "and ",
    "'\\d'", "@", "tx2", "orin-nano", "img_per_joule@tx2", "\x0c",
)  # fmt: skip
UTILITIES = (
    "netscore",
    "information_density",
    "netscore - 2 * max(0, latency_ms - 5)",
    "top1 - 10 * log10(params_m) - sqrt(macs_g) ** 2",
    "netscore + 10*log10(img_per_joule@tx2) - latency_ms@orin-nano",
)


def utility(place: Path) -> Try:
    """Return the door of utilities."""
    values = {"top1": 80.0, "params": 1e6, "macs": 1e8, "latency_ms@tx2": 3.0}

    def attempt(random: Random) -> None:
        found = Utility(of_text(random, UTILITY_WORDS, UTILITIES)).on("tx2")
        if found.needs <= values.keys():
            found(values)

    return attempt


TOML_WORDS = (
    "seed", "requirements", "utility", "out", "[prototype]", "[data]", "[task]", "[search]",
    "network", "weights", "source", "mean", "std", "cycles", "=", "\n", '"', "'", "[", "]", "{",
    "}", ",", ".",
    "1", "-1", "1e999", "nan", "inf", "9" * 5000, "0x" + "f" * 5000, "true", "1979-05-27",
    "1979-05-27T07:32:00Z", "07:32:00", "~nobody/x", "\\u0000", "\\uD800", '"""', "a.b.c",
    "a." * 300, "[" * 500, "{a=" * 300, "[[x]]", "#", "\r", "\x00", "\ufeff", "é",
    "[search.operators]", "device", "devices", "[device.tx2]", "[device]", "precision", "'tx2'",
)  # fmt: skip


def toml(place: Path) -> Try:
    """Return the door of run files."""
    files = sorted((ROOT / "experiments").rglob("*.toml"))[:6]
    good = (*(file.read_text() for file in files), config_file.to_toml(config_file.read()))

    def attempt(random: Random) -> None:
        file = place / "run.toml"
        text = of_text(random, TOML_WORDS, good).encode("utf-8", "surrogatepass")
        file.write_bytes(of_bytes(random, text) if random.randrange(4) == 0 else text)
        config = config_file.read(file)
        config_file.to_toml(config)
        cost_limits(parse_all(config.requirements))
        Utility(config.utility, open_task(config.task).metric)

    return attempt


DEVICES = b"""[tx2]
destination = "nvidia@192.168.55.1"
profile = "jetson-tx2"
python = "python3"
serial = "0123456789abcdef"
added_utc = "2026-11-24T12:00:00.000+00:00"

[pi]
destination = "ssh://me@pi:22"
profile = "generic"
python = "python3"
"""
DEVICE_WORDS = (
    "[a]", "destination", "profile", "python", "serial", "added_utc", "=", "\n", '"', "1979-05-27",
    "[]", "{}", "1", "true", '"x"', "nan", "9" * 5000, "[" * 400, ".", "[a.b]", "\x00", "é",
)  # fmt: skip


def registered(place: Path) -> Try:
    """Return the door of the registry of devices, and of its host keys."""
    at = registry.folder()

    def attempt(random: Random) -> None:
        at.mkdir(parents=True, exist_ok=True)
        keys = b"tx2 ssh-ed25519 AAAA\npi ssh-rsa BBBB\n"
        text = of_text(random, DEVICE_WORDS, (DEVICES.decode(),)).encode("utf-8", "surrogatepass")
        (at / "devices.toml").write_bytes(
            of_bytes(random, DEVICES) if random.randrange(2) else text
        )
        (at / "known_hosts").write_bytes(of_bytes(random, keys) if random.randrange(2) else keys)
        for device in registry.all_devices()[1:]:
            registry.replace(device)
            registry.remove(device.alias)
            break

    return attempt


def result(place: Path) -> Try:
    """Return the door of a finished run: its cards, result, journal, run file and inputs."""
    from gensynth.run_files import FORMAT_FILE
    from gensynth.runs.folder import FORMAT

    run = place / "run"
    shutil.copytree(RECORDED, run / "finalists", ignore=shutil.ignore_patterns("rival"))
    card = run / "finalists" / "FermiNet-A" / "card.json"
    (run / "prototype").mkdir()
    shutil.copy(card, run / "prototype" / "card.json")
    (run / FORMAT_FILE).write_text(f"{FORMAT}\n")
    document = {
        "finalists": ["FermiNet-A"],
        "requirements": [r["text"] for r in json.loads(card.read_text())["requirements"]],
        "seconds": {"prepare": 1.0, "cycles": 2.0},
    }
    (run / "result.json").write_text(json.dumps(document))
    (run / "state").mkdir()
    journal = RECORDED / "journal.jsonl"
    (run / "journal.jsonl").write_bytes(journal.read_bytes() if journal.exists() else b"")
    kept = {p: p.read_bytes() for p in (card, run / "result.json", run / "prototype" / "card.json")}

    def attempt(random: Random) -> None:
        from gensynth.render.result import result as table

        file = random.choice(list(kept))
        try:
            file.write_bytes(of_json(random, json.loads(kept[file])))
            table(read_result(run), 80)
        finally:
            file.write_bytes(kept[file])

    return attempt


def kept(place: Path) -> Try:
    """Return the door of what a run keeps of a distillation, and of its ledger."""
    from types import SimpleNamespace

    from gensynth.goals.ledger import Ledger
    from gensynth.runs import full_distillation

    space = space_of("resnet8")
    folder = place / full_distillation.ATTEMPTS / "one"
    folder.mkdir(parents=True)
    (folder / "graph.json").write_text(space.coupling.graph.to_json())
    (folder / "weights.safetensors").write_bytes(b"")
    point = space.whole(1)[0]
    record = {
        "seed": 1, "generator_sha256": "a" * 64, "graph_sha256": space.coupling.graph.sha256,
        "widths": list(point.widths), "bits": list(point.kept_blocks), "metric": "top1",
        "predicted": [0.8, 0.9, 0.95], "correct": 90, "n": 100,
        "seconds": {"train": 1.0, "evaluate": 0.1},
    }  # fmt: skip
    line = {
        "event": "result", "network": "a" * 64, "split": "b" * 64, "correct": 3, "n": 4,
        "right": "4A==",
    }  # fmt: skip
    run: Any = SimpleNamespace(path=place)
    job: Any = SimpleNamespace(space=space)

    def attempt(random: Random) -> None:
        if random.randrange(3):
            (folder / full_distillation.ATTEMPT_FILE).write_bytes(of_json(random, record))
            one = full_distillation.read(run, job, "one")
            assert one is not None
            _ = space.named_costs(one.points(job)), one.observation()
            return
        content = of_json(random, line)
        (place / "ledger.jsonl").write_bytes(content + random.choice((b"", b"\n", b"\n{")))
        ledger = Ledger(place / "ledger.jsonl")
        ledger.recorded("a" * 64, "b" * 64, "top1")
        ledger.judged("b" * 64)

    return attempt


def images(place: Path) -> Try:
    """Return the door of a folder of images."""
    random_ = np.random.default_rng(0)
    good = []
    for number, kind in enumerate(("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")):
        path = place / f"good{number}"
        Image.fromarray(random_.integers(0, 256, (12, 9, 3), np.uint8)).save(path, kind)
        good.append(path.read_bytes())
    root = place / "images"
    for split, name in itertools.product(("train", "search", "test"), "ab"):
        (root / split / name).mkdir(parents=True)
        (root / split / name / "0.png").write_bytes(good[0])

    def attempt(random: Random) -> None:
        file = root / "train" / "a" / "1"
        file.write_bytes(of_bytes(random, random.choice(good)))
        image_folder.load(
            root, size=random.choice((None, 8)), colour=random.choice(("rgb", "grey"))
        )

    return attempt


DOORS: dict[str, Callable[[Path], Try]] = {
    "graph": graph,
    "generator": generator,
    "requirements": requirements,
    "utility": utility,
    "toml": toml,
    "registry": registered,
    "result": result,
    "kept": kept,
    "images": images,
}
OURS: tuple[type[BaseException], ...] = (GensynthError,)
"""What may come out of a door."""
