"""The doors of data sets with boxes or masks, and of what a run keeps of its devices."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from gensynth.data import coco, masks
from gensynth.goals.readings import of_interval
from gensynth.run_files import DEVICE_COSTS_FILE, MEASURED_FILE
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.documents import to_document
from gensynth.runs.hardware.hardware import Hardware
from gensynth.runs.hardware.measuring import Outcome
from gensynth.runs.hardware.opening import keep_tables, tables_of
from gensynth.runs.hardware.turns import recall_end
from gensynth.space.cost_model import Tabulated
from tests.fuzz.mutations import of_bytes, of_json
from tests.search.spaces import space_of

Try = Callable[[Random], None]


def boxes(place: Path) -> Try:
    """Return the door of COCO's JSON."""
    images = []
    for number, split in enumerate(("train", "val", "test"), start=1):
        noise = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        Image.fromarray(noise).save(place / f"{number}.png")
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": 12, "height": 9, "split": split}
        )
    objects = [
        {"id": n, "image_id": n, "category_id": 2, "bbox": [1, 2, 5.5, 4], "iscrowd": 0}
        for n in (1, 2, 3)
    ]
    document = {
        "images": images, "annotations": objects, "categories": [{"id": 2, "name": "cat"}],
    }  # fmt: skip

    def attempt(random: Random) -> None:
        (place / "boxes.json").write_bytes(of_json(random, document))
        size, colour = random.choice((None, 8)), random.choice(("rgb", "grey"))
        coco.load(place / "boxes.json", size=size, colour=colour)

    return attempt


def masked(place: Path) -> Try:
    """Return the door of a folder of images and masks."""
    for split in ("train", "val", "test"):
        (place / split).mkdir()
        (place / f"{split}annot").mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
        Image.fromarray(noise).save(place / split / "0.png")
        Image.fromarray(noise[..., 0] % 3).save(place / f"{split}annot" / "0.png")
    files = [place / "train" / "0.png", place / "trainannot" / "0.png", place / "train.txt"]
    listed = b"/SegNet/CamVid/train/0.png /SegNet/CamVid/trainannot/0.png\n"
    good = [files[0].read_bytes(), files[1].read_bytes(), listed]

    def attempt(random: Random) -> None:
        which = random.randrange(len(files))
        try:
            files[which].write_bytes(of_bytes(random, good[which]))
            masks.load(place, classes=("a", "b", "c"), void=random.choice((None, 2)))
        finally:
            files[2].unlink(missing_ok=True)
            for file, content in zip(files[:2], good[:2], strict=True):
                file.write_bytes(content)

    return attempt


def on_devices(place: Path) -> Try:
    """Return the door of what a run measured, and of its tables of costs."""
    space = space_of("resnet8")
    sizes = [
        (1, int(read) + 1, int(written) + 1, 1)
        for read, written in zip(
            space.sizes @ space.layout.reads + space.layout.read_fixed,
            space.sizes @ space.layout.writes + space.layout.written_fixed,
            strict=True,
        )
    ]
    tables = [np.ones(size) for size in sizes]
    none = np.full(len(tables), -1)
    with_costs = space.with_models(Tabulated(("latency_ms@tx2",), tables, none))
    run = RunFolder(place, FileLock(place / "lock"))
    hardware: Any = SimpleNamespace(space=with_costs)
    keep_tables(run, hardware)
    costs = (place / DEVICE_COSTS_FILE).read_bytes()
    kernel = {"name": "a", "operator": "Conv", "inputs": [[1, 3]], "outputs": [[1]], "ms": 0.1}
    outcome = Outcome("ok", {"latency_ms": of_interval(2.0, (1.9, 2.2))}, 3.0, [kernel], "", "j")
    measured = [to_document("tx2", space.whole(1)[0], outcome)]
    job: Any = SimpleNamespace(hardware=Hardware((), space, ()))

    def attempt(random: Random) -> None:
        if random.randrange(2):
            (place / MEASURED_FILE).write_bytes(of_json(random, json.loads(json.dumps(measured))))
            recall_end(run, job)
            return
        (place / DEVICE_COSTS_FILE).write_bytes(of_bytes(random, costs))
        found = tables_of(place, space)
        with np.errstate(all="ignore"):
            found.named_costs(found.smallest())

    return attempt


DOORS: dict[str, Callable[[Path], Try]] = {
    "boxes": boxes,
    "masks": masked,
    "on_devices": on_devices,
}
