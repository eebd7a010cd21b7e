"""Objects that the user names in Python's own way, as `module:attribute`.

Importing a module runs it. That is what naming one means, and nothing else does: a data,
weights or run file never names a module by itself. So the user's folders come first while such a
module is imported, and last from then on: what it imports later is found, and nothing in them
stands in for what is installed.
"""

import contextlib
import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gensynth.errors import ConfigError
from gensynth.suggestion import did_you_mean

_FOLDERS: list[str] = []
"""Where the modules of the run lie that is at hand."""


def import_object(reference: str, what: str) -> Any:
    """Return the object that `module:attribute` names.

    The folders given to `search` come first, then the working directory, as with `python -m`; for
    what is gensynth's own, neither is looked at. The attribute may have dots
    (`module:Class.method`).

    Args:
        reference: such as "mymodels.small:build".
        what: what the object is wanted for, as a word for the message.

    Raises:
        ConfigError: if the reference has another form, or no such module or attribute is
            there; it names the nearest. An error within the module is its author's, and
            keeps its traceback.
    """
    name, colon, attributes = reference.partition(":")
    parts = [*name.split("."), *attributes.split(".")]
    if not colon or name.endswith(".py") or not all(part.isidentifier() for part in parts):
        raise ConfigError(
            f"a {what} of your own is named as module:attribute, such as mymodule:build, "
            f"got '{reference}'"
        )
    found: Any = _import_module(name, reference, what)
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            public = [known for known in vars(found) if not known.startswith("_")]
            raise ConfigError(
                f"{what} '{reference}': {name} has no '{attribute}'; "
                f"{did_you_mean(attribute, public) if public else 'it defines no names'}"
            )
        found = getattr(found, attribute)
    return found


def search(folders: Iterable[Path]) -> None:
    """Look for modules in these folders before all others, in place of those given before."""
    _FOLDERS[:] = [str(folder) for folder in folders]


def folder_of(reference: str) -> Path | None:
    """Return the folder in which the module of `module:attribute` is found from here.

    Nothing is run to find it. None where it is installed, or not found at all.
    """
    top = reference.partition(":")[0].partition(".")[0]
    with _here_first():
        try:
            found = importlib.util.find_spec(top) if top.isidentifier() else None
        except ValueError:  # a module without a file, such as __main__
            return None
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if found is not None and not places and found.has_location and found.origin is not None:
        places = [found.origin]
    home = Path(places[0]).resolve().parent if places else None
    installed = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    return None if home in installed else home


@contextlib.contextmanager
def _here_first() -> Iterator[None]:
    """Let the user's folders come before all others, and after them once the body is done."""
    here = [*_FOLDERS, str(Path.cwd())]
    sys.path[:0] = here
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in here:
            if folder in sys.path:  # a module may do with the path what it likes
                sys.path.remove(folder)
        sys.path += [folder for folder in here if folder not in sys.path]


def _import_module(name: str, reference: str, what: str) -> Any:
    try:
        if name.partition(".")[0] == __name__.partition(".")[0]:
            return importlib.import_module(name)
        with _here_first():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package, _, _ = name.rpartition(".")
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{what} '{reference}': {name} imports '{error.name}', which is not installed here"
            ) from error
        near = _neighbours(package if error.name == name else "")
        raise ConfigError(
            f"{what} '{reference}': no module '{error.name}' in {Path.cwd()} or among what "
            f"is installed; {did_you_mean(error.name.rpartition('.')[2], near)}"
        ) from error


def _neighbours(package: str) -> list[str]:
    """Return the modules of a package, or those of the working directory."""
    folders = list(sys.modules[package].__path__) if package in sys.modules else [str(Path.cwd())]
    return sorted(module.name for module in pkgutil.iter_modules(folders)) or ["no modules there"]
