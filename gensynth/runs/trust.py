"""Whether the code that a run folder names may run.

A run may name Python of its own: a prototype, a data set, a training function, as module:attribute.
Going on with the run, or exporting from it, imports that, and importing runs it. In one's own runs
that is what one has named. In a folder that came from somebody else it is their word, so it needs
the user's: `--trust`, or `trust=True`.

What a user names for a run that is begun here is noted in the user's data folder, and needs no
second word. Nothing else of a run folder runs anything: weights are safetensors, the rest is text.
"""

import os
from pathlib import Path

import platformdirs

from gensynth.config import RunConfig
from gensynth.errors import ConfigError
from gensynth.outside import read_text
from gensynth.prototypes import is_of_library
from gensynth.runs.objects import OBJECT


def named_code(config: RunConfig) -> dict[str, str]:
    """Return the code that a configuration names and where it lies, by what it is for."""
    source = config.data.source
    named = {
        "prototype": config.prototype.network,
        "data set": "" if Path(source).is_dir() else source,
        "task": config.task.kind,
        "training function": config.task.train or "",
        **{f"augmentation {name}": name for name in config.data.augments},
    }
    where = " or ".join(str(folder) for folder in config.modules)
    return {
        what: f"{name} in {where}" if where else name
        for what, name in named.items()
        if ":" in name and not name.startswith(OBJECT) and not is_of_library(name)
    }


def note(config: RunConfig) -> None:
    """Note that this user has named the code of a configuration.

    Where that cannot be written, the code needs the user's word each time.
    """
    new = set(named_code(config).values()) - _noted()
    if not new:
        return
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{name}\n" for name in sorted(new))
    except OSError:
        return


def require(config: RunConfig, run: Path, *, trust: bool, named: str | None = None) -> None:
    """Refuse to run code that only a run folder has named.

    Args:
        config: the run's.
        run: its folder.
        trust: whether the user said that the folder's code may run; that is noted.
        named: a data set that the user names now, in place of the run's.

    Raises:
        ConfigError: naming the code, and the word.
    """
    known = _noted()
    unknown = [
        f"{name} as its {what}"
        for what, name in named_code(config).items()
        if name not in known and not (what == "data set" and config.data.source == named)
    ]
    if unknown and not trust:
        raise ConfigError(
            f"{run} names Python code, {' and '.join(unknown)}, which would run here, and you have "
            "not named it in a run of your own; look at it, then say that you trust it: --trust"
        )
    note(config)


def _noted() -> set[str]:
    try:
        return set(read_text(_path()).splitlines())
    except (OSError, ValueError):
        return set()


def _path() -> Path:
    return platformdirs.user_data_path("gensynth") / "named-code.txt"
