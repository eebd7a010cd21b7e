"""What lies in a folder of images, and which split a name means.

    train     train, training
    search    search, val, valid, validation, dev, eval
    test      test, testing

in any case, for folders, for lists and in columns of tables.
"""

from collections.abc import Iterable
from pathlib import Path

from gensynth.errors import DataError

SPLITS = {
    "train": ("train", "training"),
    "search": ("search", "val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
LEFT_BY_DESKTOPS = {"thumbs.db", "desktop.ini"}


def split_of(name: str) -> str | None:
    """Return the split that a name means: "train", "search", "test" or None.

    Example:
        >>> split_of("Validation"), split_of("cats")
        ('search', None)
    """
    for split, words in SPLITS.items():
        if name.strip().lower() in words:
            return split
    return None


def by_split(paths: Iterable[Path], where: Path) -> dict[str, Path]:
    """Return the paths whose names, endings left out, mean a split, by split.

    Raises:
        DataError: if two of them mean the same.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if (split := split_of(name)) is not None:
            found.setdefault(split, []).append(path)
    for split, several in found.items():
        if len(several) > 1:
            raise DataError(
                f"{where} holds {' and '.join(p.name for p in several)}, and both mean the "
                f"{split} split; rename one"
            )
    return {split: found[split][0] for split in SPLITS if split in found}


def visible(folder: Path) -> list[Path]:
    """Return what a folder holds, in order of names, without what desktops leave there."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LEFT_BY_DESKTOPS
    )
