"""A commented run file for one's own network and images: what `gensynth init` writes.

Every key stands there with its default and with what `gensynth.config` says of it; those that were
given are set, the others are comments.
"""

import dataclasses
import inspect
import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gensynth.config import RunConfig, located, located_source
from gensynth.config_file import to_document

WIDTH = 96
_HEAD = """\
# A run of gensynth. What is commented out stands at its default.
#
#     gensynth synth {name} --plan    what can be reached, and how long it takes
#     gensynth synth {name}           the run
"""
_SOURCE = "data.source"
_PATHS = ("prototype.weights", "data.folder", "search.start", _SOURCE)
_NOT_WRITTEN = ("devices", "out", "modules")


def template(given: Mapping[str, Any], name: str = "run.toml") -> str:
    """Return a run file in which some keys are set.

    Args:
        given: values by key or by table and key, such as {"data.source": "pictures"}.
        name: of the file, for the commands in its head.
    """
    defaults = to_document(RunConfig())
    top: list[str] = []
    tables: list[str] = []
    for field in dataclasses.fields(RunConfig):
        if dataclasses.is_dataclass(field.type):
            lines = _keys(field.type, defaults[field.name], given, f"{field.name}.")
            tables.append("\n".join([f"[{field.name}]", *lines]))
        elif field.name not in _NOT_WRITTEN:
            top += _key(field.name, defaults, _told(RunConfig), given, "")
    return "\n\n".join([_HEAD.format(name=name) + "\n" + "\n".join(top), *tables]) + "\n"


def seen_from(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return values whose relative paths are from a folder what they were from the working one.

    A run file's paths begin where it stands. Absolute ones, and a home's, stay as they are.
    """
    made = dict(given)
    folder = folder.resolve()  # as the run file is read
    if folder == Path.cwd():
        return made
    for key in _PATHS:
        text = given.get(key)
        if not isinstance(text, str) or text.startswith(("/", "~")):
            continue
        path = Path(located_source(text) if key == _SOURCE else located(text))
        if str(path) != text:  # a source may be a name
            relative = os.path.relpath(path.parent.resolve() / path.name, folder)
            made[key] = relative if "/" in relative else f"./{relative}"
    return made


def _keys(
    table: Any, defaults: Mapping[str, Any], given: Mapping[str, Any], prefix: str
) -> Iterator[str]:
    told = _told(table)
    for field in dataclasses.fields(table):
        yield from _key(field.name, defaults, told, given, prefix)


def _key(
    name: str,
    defaults: Mapping[str, Any],
    told: Mapping[str, str],
    given: Mapping[str, Any],
    prefix: str,
) -> Iterator[str]:
    comment = textwrap.wrap(told.get(name, ""), WIDTH - 2)
    yield from (f"# {line}" for line in comment)
    value, default = given.get(prefix + name), defaults[name]
    if value is not None:
        yield f"{name} = {_toml(value)}"
    elif default is None:
        yield f"# {name} = ..."
    else:
        yield f"# {name} = {_toml(default)}"


def _told(table: Any) -> dict[str, str]:
    """Return what a table's docstring says of each key, as one line."""
    told: dict[str, str] = {}
    text = (inspect.getdoc(table) or "").partition("Attributes:")[2]
    for entry in re.split(r"\n    (?=[a-z_]+: )", text):
        name, colon, what = entry.strip().partition(": ")
        if colon:
            told[name] = " ".join(what.split()).replace("`", "")
    return told


def _toml(value: Any) -> str:
    """Return a value on one line; JSON's text, numbers, lists and an empty table are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
