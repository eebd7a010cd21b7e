"""Labelled images: what a data set is, and the sources it can come from.

    dataset         Split, Dataset: images cut into train, search and test
    images          an array where memory holds them, else decoded as they are asked for
    picture         one picture as numbers
    listing         what lies in a folder, and which split a name means
    description     what a data set is, in sentences
    passes          how many images go through a network at a time
    augment         how training images are changed, asked or by default
    views           what a network sees of them: augmented, normalised batches
    fashion_mnist   the subset that ships with gensynth
    cifar10         the official binary files, from a folder or fetched once
    labelled        listed pictures of a class each, cut and decoded
    folder          a folder of images by class
    table           CSV of path and label
    torch_dataset   data sets as PyTorch has them
    torch_targets   the same whose targets are boxes or masks
    orientation     boxes and masks that were drawn on a picture before EXIF turned it
    masks           a folder of images and masks
    camvid          the official folder of images and masks, given or fetched once
    pictured        images whose boxes are known, read and brought to a size
    coco            images and the boxes of objects, COCO's JSON
    parse27k        pedestrians' boxes in the layout that Parse27k is published in
    boxes           how a split keeps boxes, and where they go when their image is moved
    custom          a data set made by the user's own module:factory

`open_dataset` chooses among them. Importing this package imports none of them, and so
neither torch nor pillow.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gensynth.config import BUILT_IN_DATA
from gensynth.errors import ConfigError, DataError
from gensynth.outside import named_path
from gensynth.suggestion import did_you_mean

if TYPE_CHECKING:
    from gensynth.config import DataConfig
    from gensynth.data.dataset import Dataset
    from gensynth.data.picture import Size

WITH_FILES = ("cifar10", "camvid")


def open_dataset(config: "DataConfig", kind: str = "classification") -> "Dataset":
    """Return the data set that a run file's `[data]` table names.

    `source` is a built-in name, an existing folder or table, or `module:factory`, tried in this
    order. `mean` and `std` replace the normalisation of any source. `size` and `colour`
    say how the pictures of a folder are read; the other sources have their own, except
    that "bgr" turns the channels of any colour images round.

    Raises:
        ConfigError: if no source has this name, or an option does not apply to it.
        DataError: if images, labels or archives are missing, damaged or do not fit.
    """
    source = config.source
    try:
        root = named_path(source)
    except ValueError as error:
        raise ConfigError(f"source: {error}") from error
    if kind == "detection" and source not in BUILT_IN_DATA and ":" not in source:
        return _with_boxes(root, config)
    is_table = False
    if source not in BUILT_IN_DATA and ":" not in source and kind != "segmentation":
        from gensynth.data import table

        is_table = bool(table.tables_of(root))
    if config.folder is not None and source not in WITH_FILES and not is_table:
        raise ConfigError(
            f"folder says where {' or '.join(WITH_FILES)} lies, or the images of a table, got it "
            f"with source '{source}'; a "
            "folder of one's own images is itself the source"
        )
    has_masks = source not in BUILT_IN_DATA and root.is_dir() and kind == "segmentation"
    is_path = source not in BUILT_IN_DATA and ":" not in source
    is_lost = kind == "segmentation" and is_path and not has_masks
    if not (has_masks or is_lost) and (config.classes is not None or config.void is not None):
        raise ConfigError(
            "classes and void are of a folder of masks, classes of COCO's JSON too, got them with "
            f"source '{source}' for {kind}"
        )
    if has_masks:
        from gensynth.data import masks

        if config.size is not None:
            raise ConfigError(
                f"size in [data] is for images by class and with boxes, got {config.size}; bring "
                f"the images and masks of {root} to one size first, the masks without mixing "
                "numbers (nearest)"
            )
        return masks.load(
            root, classes=config.classes, void=config.void, colour=config.colour,
            mean=config.mean, std=config.std,
        )  # fmt: skip
    if is_table:
        return table.load(
            root, folder=config.folder, size=config.size, colour=config.colour, mean=config.mean,
            std=config.std,
        )  # fmt: skip
    if source not in BUILT_IN_DATA and root.is_dir():
        from gensynth.data import folder

        return folder.load(
            root, size=config.size, colour=config.colour, mean=config.mean, std=config.std
        )
    if is_path:
        if root.is_file():
            boxes = '; if it holds boxes, set kind = "detection" in [task], or --task detection'
            raise ConfigError(
                f"{root} is a file, and {kind} reads folders{boxes * (root.suffix == '.json')}"
            )
        if "/" in source:
            held = "images and masks" if is_lost else "one folder of images a class"
            raise DataError(f"no folder {root}; it must hold {held}")
        raise ConfigError(
            f"unknown data set '{source}'; {did_you_mean(source, BUILT_IN_DATA)}; your own is a "
            "folder of images by class, a CSV of paths and labels, or module:factory"
        )
    dataset = _turned(_ready_made(source, config.folder), config.size, config.colour)
    return dataclasses.replace(
        dataset,
        mean=dataset.mean if config.mean is None else config.mean,
        std=dataset.std if config.std is None else config.std,
    )


def _with_boxes(root: Path, config: "DataConfig") -> "Dataset":
    from gensynth.data import coco, parse27k

    if config.void is not None:
        raise ConfigError("void is of a folder of masks; boxes that are ignored have iscrowd")
    if parse27k.is_parse27k(root):
        if config.folder is not None or config.classes is not None:
            raise ConfigError(
                f"folder and classes are of COCO's JSON; {root} holds Parse27k, whose frames lie "
                "in it and whose one class is pedestrian"
            )
        return parse27k.load(
            root, size=config.size, colour=config.colour, mean=config.mean, std=config.std
        )
    return coco.load(
        root, folder=config.folder, classes=config.classes, size=config.size, colour=config.colour,
        mean=config.mean, std=config.std,
    )  # fmt: skip


def _ready_made(source: str, batches: Path | None) -> "Dataset":
    if source == "fashion-mnist":
        from gensynth.data import fashion_mnist

        return fashion_mnist.load()
    if source == "cifar10":
        import platformdirs

        from gensynth.data import cifar10

        if batches is None:
            batches = cifar10.download(Path(platformdirs.user_cache_dir("gensynth")))
        return cifar10.load(batches.expanduser())
    if source == "camvid":
        import platformdirs

        from gensynth.data import camvid

        if batches is None:
            batches = camvid.download(Path(platformdirs.user_cache_dir("gensynth")))
        return camvid.load(batches.expanduser())
    from gensynth.data import custom

    return custom.load(source)


def _turned(dataset: "Dataset", size: "Size | None", colour: str) -> "Dataset":
    """Bring images that are already in memory to a colour order; refuse what they are not."""
    from gensynth.data.picture import sides

    channels, height, width = dataset.shape
    if size is not None and (height, width) != sides(size):
        raise ConfigError(
            f"images of {dataset.name} are {width} x {height}, got size {size}; size applies "
            "to a folder of images"
        )
    if colour == "rgb" or (colour == "grey" and channels == 1):
        return dataset
    if colour != "bgr" or channels != 3:
        raise ConfigError(
            f"images of {dataset.name} have {channels} channels and cannot be read as '{colour}'"
        )
    train, search, test = (
        dataclasses.replace(split, images=split.images[:, ::-1].copy())
        for split in (dataset.train, dataset.search, dataset.test)
    )
    return dataclasses.replace(
        dataset,
        train=train,
        search=search,
        test=test,
        mean=dataset.mean[::-1],
        std=dataset.std[::-1],
        source=f"{dataset.source}, channels in order bgr",
    )
