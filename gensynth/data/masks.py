"""A folder of images and masks, read into memory.

    root/train.txt   root/val.txt   root/test.txt        a line a pair: image and mask
    root/train/*  root/trainannot/*  root/val/* ...       pairs by the files' names

The first is the layout of SegNet's CamVid; its lists begin every path with /SegNet/CamVid,
which is left out where no such file is below the root. A mask gives a number for every pixel:
grey or palette PNG, 8 bits. Numbers are those of the classes, in order, and the void. Masks that
belong to no image are left out, and named.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.images import Decode, read_splits, survey
from gensynth.data.listing import SPLITS, by_split, visible
from gensynth.data.orientation import drawn_turned, turned_mask
from gensynth.data.picture import COLOURS, DAMAGED, PICTURE_BYTES, picture
from gensynth.errors import ConfigError, DataError
from gensynth.outside import PIXELS, check_plain, is_file, read_bytes
from gensynth.suggestion import did_you_mean

MASKS = "annot"
"""What the name of a folder of masks ends in."""
VOID = 255
"""What void is in memory."""
MOST_CLASSES = 255


def load(
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    void: int | None = None,
    colour: str = "rgb",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    augmentation: Augmentation | None = None,
) -> Dataset:
    """Read a folder of images and masks, all of one size.

    Args:
        root: the folder above lists or splits; validation images decide in the search.
        classes: their names, in the order of their numbers in the masks; None names them by
            their numbers, all that occur in the training masks.
        void: the number of pixels that are neither taught nor scored.
        colour: "rgb", "bgr" or "grey", see `gensynth.data.folder`.
        mean: per-channel mean of images scaled to [0, 1]; that of the training images if None.
        std: per-channel standard deviation, in the same way.
        augmentation: of training images; by default a crop from images padded by an eighth of
            the shorter side, and mirroring.

    Raises:
        ConfigError: if `colour` cannot be meant.
        DataError: if a list, an image or a mask is missing, damaged or of another size, or a
            mask holds a number that is no class's; it names the file.
    """
    if colour not in COLOURS:
        raise ConfigError(f"unknown colour order '{colour}'; {did_you_mean(colour, COLOURS)}")
    if classes is not None and len(classes) > MOST_CLASSES:
        raise ConfigError(
            f"a mask of 8 bits tells {MOST_CLASSES} classes and the void apart, got {len(classes)}"
        )
    pairs = {split: _pairs(root, split) for split in SPLITS}
    left_out = _check_once(pairs)
    masks = {split: [_mask(*pair) for pair in found] for split, found in pairs.items()}
    numbers = _numbers(masks["train"], classes, void, root)
    shape = picture(pairs["train"][0][0], None, colour).shape

    def decoder(split: str) -> Decode:
        def decode(place: int) -> np.ndarray:
            pair, mask = pairs[split][place], masks[split][place]
            pixels = picture(pair[0], None, colour)
            _check_size(pair, pixels.shape, mask.shape, pairs["train"][0][0], shape)
            return pixels

        return decode

    images = read_splits({split: (len(pairs[split]), decoder(split)) for split in SPLITS}, shape)
    surveys = {split: survey(images[split]) for split in SPLITS}  # which finds every broken file
    splits = {}
    for split, found in pairs.items():
        renumbered = [
            _renumbered(mask, numbers, void, file, is_named=classes is not None)
            for mask, (_, file) in zip(masks[split], found, strict=True)
        ]
        splits[split] = Split(split, images[split], np.stack(renumbered))
    computed_mean, computed_std = surveys["train"].moments()
    return Dataset(
        name=root.resolve().name,
        classes=tuple(classes) if classes else tuple(str(number) for number in numbers),
        train=splits["train"],
        search=splits["search"],
        test=splits["test"],
        mean=computed_mean if mean is None else mean,
        std=computed_std if std is None else std,
        augmentation=augmentation or Augmentation(pad=min(shape[1:]) // 8, flip=True),
        source=f"folder {root.resolve()}, images and masks, colour order {colour}",
        left_out=left_out,
        void=VOID,
    )


def _check_once(pairs: Mapping[str, Sequence[tuple[Path, Path]]]) -> tuple[str, ...]:
    """Refuse an image of two splits, which would be tested on what it taught.

    Returns:
        the masks beside those of the images, which are of none.
    """
    seen: dict[Path, str] = {}
    for split, found in pairs.items():
        for image, _ in found:
            if seen.setdefault(image, split) != split:
                raise DataError(f"{image} is in {seen[image]} and in {split}; leave it in one")
    masks = {mask for found in pairs.values() for _, mask in found}
    folders = sorted({mask.parent for mask in masks} - {image.parent for image in seen})
    return tuple(str(path) for folder in folders for path in visible(folder) if path not in masks)


def _pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Return the images and masks of one split."""
    if not root.is_dir():
        raise DataError(f"no folder {root}; it must hold images and masks, see --help")
    entries = visible(root)
    lists = by_split((p for p in entries if p.is_file() and p.suffix == ".txt"), root)
    folders = by_split((p for p in entries if p.is_dir()), root)
    if split in lists:
        return _listed(root, lists[split])
    if split in folders:
        return _named_alike(folders[split], root / f"{folders[split].name}{MASKS}")
    name = {"search": "val"}.get(split, split)
    raise DataError(
        f"{root} holds neither {name}.txt, nor folders {name} and {name}{MASKS}; segmentation "
        "needs images and masks of train, val and test"
    )


def _listed(root: Path, file: Path) -> list[tuple[Path, Path]]:
    pairs = []
    try:
        lines = read_bytes(file).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be text in UTF-8: {error.reason}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        paths = line.split()
        if len(paths) != 2:
            raise DataError(
                f"{file}, line {number}: must be an image and its mask, two paths without "
                f"blanks, got {len(paths)}"
            )
        image, mask = (_below(root, path, file, number) for path in paths)
        pairs.append((image, mask))
    if not pairs:
        raise DataError(f"{file} names no image")
    return pairs


def _below(root: Path, text: str, file: Path, number: int) -> Path:
    """Return a listed path below the root, without the folders of another machine before it."""
    parts = Path(text).parts
    for first in range(len(parts)):
        path = root.joinpath(*(part for part in parts[first:] if part != "/"))
        if is_file(path):
            return path
    raise DataError(f"{file}, line {number}: no file {text} below {root}")


def _named_alike(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    if not masks.is_dir():
        raise DataError(f"{images} has no folder of masks beside it; it must be {masks}")
    by_stem, seen = _by_stem(masks), _by_stem(images)
    pairs = []
    for image in seen.values():
        if image.stem not in by_stem:
            raise DataError(f"{image} has no mask; {masks} must hold one named {image.stem}.png")
        pairs.append((image, by_stem[image.stem]))
    if not pairs:
        raise DataError(f"{images} holds no images")
    return pairs


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names without endings, by which images find masks."""
    found: dict[str, Path] = {}
    for path in visible(folder):
        if path.stem in found:
            raise DataError(
                f"{folder} holds {found[path.stem].name} and {path.name}; an image and its mask "
                "are known by the name before the ending, so it must be there once"
            )
        found[path.stem] = path
    return found


def _mask(image: Path, file: Path) -> np.ndarray:
    """Return the numbers of an image's mask, upright as the image is: (height, width), uint8."""
    mask = _numbers_of(file)
    try:
        orientation = drawn_turned(image, (mask.shape[1], mask.shape[0]))
    except DAMAGED:  # said by who reads the image
        return mask
    return turned_mask(mask, orientation)


def _numbers_of(file: Path) -> np.ndarray:
    """Return the numbers of a mask's pixels as they are stored: (height, width), uint8."""
    try:
        check_plain(file, PICTURE_BYTES)
        with Image.open(file) as opened:
            if opened.width * opened.height > PIXELS:
                raise DataError(f"{file} has more than {PIXELS:,} pixels; make it smaller")
            if opened.mode not in ("L", "P", "1"):
                raise DataError(
                    f"{file} must be a mask of one number a pixel, a grey or palette image of 8 "
                    f"bits, got one of mode {opened.mode}"
                )
            return np.asarray(opened if opened.mode != "1" else opened.convert("L")).copy()
    except DAMAGED as error:
        raise DataError(f"{file} is not a whole image: {error}; remove or replace it") from error


def _numbers(
    masks: Sequence[np.ndarray], classes: Sequence[str] | None, void: int | None, root: Path
) -> list[int]:
    """Return the classes' numbers in the masks, in the order of the classes."""
    if classes is None:
        found = sorted({int(n) for mask in masks for n in np.unique(mask)} - {void})
        if void is None and VOID in found[2:]:
            raise DataError(
                f"the masks of {root} hold {VOID} beside {len(found) - 1} other numbers, which "
                f"most use for pixels of no class; set void = {VOID} in [data], or name the classes"
            )
        if len(found) < 2:
            raise DataError(
                f"the training masks of {root} hold {len(found)} classes; telling apart takes two"
            )
        return found
    return [number for number in range(len(classes) + 1) if number != void][: len(classes)]


def _renumbered(
    mask: np.ndarray, numbers: list[int], void: int | None, file: Path, *, is_named: bool
) -> np.ndarray:
    table = np.full(256, -1, np.int16)
    table[numbers] = np.arange(len(numbers))
    if void is not None:
        table[void] = VOID
    if (table[mask] < 0).any():
        strange = int(mask[table[mask] < 0][0])
        share = 100 * float((mask == strange).mean())
        raise DataError(
            f"{file} holds {strange}, in {share:.2g} % of its pixels, which is no class; classes "
            f"are {numbers[0]} to {numbers[-1]}"
            + ("" if void is None else f" and void {void}")
            + ("; without classes in [data] all numbers that occur are some" if is_named else "")
        )
    return table[mask].astype(np.uint8)


def _check_size(
    pair: tuple[Path, Path],
    shape: tuple[int, ...],
    of_mask: tuple[int, ...],
    first: Path,
    wanted: tuple[int, ...],
) -> None:
    image, mask = pair
    if of_mask != shape[1:]:
        raise DataError(
            f"{mask} has {of_mask[1]} x {of_mask[0]} pixels and its image {image.name} "
            f"{shape[2]} x {shape[1]}; they must be one size"
        )
    if shape != wanted:
        raise DataError(
            f"{image} has {shape[2]} x {shape[1]} pixels and {first} "
            f"{wanted[2]} x {wanted[1]}; all images must have one size"
        )
