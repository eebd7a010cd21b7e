"""Objects that the user names in Python's own way, as `module:attribute`.

Importing a module runs it. That is what naming one means, and nothing else does: a data,
weights or run file never names a module by itself.
"""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any

from gensynth.errors import ConfigError
from gensynth.suggestion import did_you_mean


def import_object(reference: str, what: str) -> Any:
    """Return the object that `module:attribute` names.

    The working directory is searched first, as with `python -m`. The attribute may have
    dots (`module:Class.method`).

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


def _import_module(name: str, reference: str, what: str) -> Any:
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
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
