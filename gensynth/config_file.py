"""Reading a run file into `config`, and writing it back.

    assigned   "search.cycles=24" -> what is laid over
    read       a TOML file and what the command line changes in it -> RunConfig
    to_toml    RunConfig -> the resolved file that a run folder keeps
    to_document    the same as JSON values

Pydantic finds the faults; the sentences about them are ours: what must hold, what came, and
the nearest known name.
"""

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from gensynth.config import (
    DeviceConfig,
    Place,
    RunConfig,
    located,
    located_source,
)
from gensynth.errors import ConfigError
from gensynth.outside import read_bytes
from gensynth.suggestion import did_you_mean

_TABLES: dict[str, Any] = {
    field.name: field.type
    for field in dataclasses.fields(RunConfig)
    if dataclasses.is_dataclass(field.type)
}
_RENAMED = {"search": {"align": "round_to", "absorb": "reptile_rate", "operators": "substitutes"}}
"""Keys as version 0.1 wrote them, by table."""
_DROPPED = {"task": {"loss": "cross_entropy"}}
"""Keys of version 0.1 that had one value, and mean nothing any more."""
_BYTES, _DEEPEST = 1 << 17, 8
_DEVICE, _DEVICES = "device", "devices"
"""The file's key, with a table for each device, and the field that they are read into."""
_TOP = tuple(
    f.name for f in dataclasses.fields(RunConfig) if f.name not in _TABLES and f.name != _DEVICES
)
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
    "is_instance_of": "a path",
}


def read(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a run file and lay what the command line says over it.

    Relative paths in the file are relative to the file's folder, those in `overrides` to
    the working directory; all paths of the result are absolute.

    Args:
        path: the TOML file; None starts from the defaults.
        overrides: values by key ("seed"), by table and key ("search.cycles") or of one device
            ("device.tx2.precision"). None means that the option was not given. "devices" is a
            list of names: those devices in place of the file's, with what its tables say of them.

    Raises:
        ConfigError: if the file cannot be read or is not TOML, a key or table is unknown, or
            a value has the wrong type or is out of range. Every fault is named, one a line.
    """
    document = {} if path is None else _located(_load(path), path.resolve().parent)
    given = _located(_nested(overrides or {}), Path.cwd())
    if _DEVICES in given:
        tables, names = document.get(_DEVICES, {}), given.pop(_DEVICES)
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise ConfigError(f"unknown key '{_DEVICES}'; did you mean '{_DEVICE}'?")
        document[_DEVICES] = {name: tables.get(name, {}) for name in names}
    named = _with_devices({_DEVICE: given.pop(_DEVICE, {})})
    for name, table in named.get(_DEVICES, {}).items():
        tables = document.setdefault(_DEVICES, {})
        tables[name] = {**tables.get(name, {}), **table}
    try:
        merged = json.dumps(_plain(_laid_over(document, given)))
        return TypeAdapter(RunConfig).validate_json(merged)
    except ValidationError as error:
        file = f"{path.name}: " if path else ""
        faults = [
            ("" if _holds(given, fault["loc"]) else file) + _sentence(fault["loc"], fault)
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(faults)) from error


def to_toml(config: RunConfig) -> str:
    """Return the run file that says all of this configuration; `read` gives it back."""
    said = _without_none(to_document(config))
    # A table ends what stands before it: the keys of no table come first.
    document = {name: said[name] for name in (*_TOP, *_TABLES) if name in said}
    if config.devices:
        document[_DEVICE] = said[_DEVICES]
    return tomli_w.dumps(document)


def to_document(config: RunConfig) -> dict[str, Any]:
    """Return all of a configuration as JSON values, a table a dictionary."""
    document: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    return document


def in_our_words(error: ValidationError, kind: str) -> ConfigError:
    """Return what is wrong with a table that is made in Python.

    Args:
        error: pydantic's.
        kind: name of the table's class.
    """
    tables = {table.__name__: name for name, table in _TABLES.items()}
    place: tuple[str, ...] = () if kind == RunConfig.__name__ else (tables.get(kind, _DEVICES),)
    if kind == DeviceConfig.__name__:
        place = (_DEVICES, "NAME")
    said = [_sentence((*place, *fault["loc"]), fault) for fault in error.errors()]
    return ConfigError("\n".join(said))


def _load(path: Path) -> dict[str, Any]:
    try:
        # An editor on Windows may begin the file with a byte-order mark.
        document = tomllib.loads(read_bytes(path, _BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: must be text in UTF-8, {error.reason}") from error
    except RecursionError as error:
        raise ConfigError(f"{path.name}: its tables and lists are too deep") from error
    except ValueError as error:  # TOML's own, and a whole number of thousands of digits
        what = str(error)
        if "integer string conversion" in what:
            what = "a whole number in it has thousands of digits"
        raise ConfigError(f"{path.name}: {what}") from error
    try:
        return _with_devices(_renewed(document))
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _with_devices(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose devices are tables by name, in whichever way they are written."""
    if _DEVICES in document:
        raise ConfigError(f"unknown key '{_DEVICES}'; did you mean '{_DEVICE}'?")
    found = document.pop(_DEVICE, {})
    names = [found] if isinstance(found, str) else found
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        found = {name: {} for name in names}
    if not isinstance(found, dict) or not all(isinstance(t, dict) for t in found.values()):
        raise ConfigError(
            f"{_DEVICE} must be the name of a device, a list of names, or a table "
            f"[{_DEVICE}.NAME] for each, got {_shown(_plain(found))}"
        )
    return {**document, **({_DEVICES: found} if found else {})}


def _renewed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of an earlier version in the words of this one."""
    for table, names in _RENAMED.items():
        values = document.get(table)
        if isinstance(values, dict):
            document[table] = {names.get(key, key): value for key, value in values.items()}
    for table, only in _DROPPED.items():
        values = document.get(table)
        if isinstance(values, dict):
            document[table] = {k: v for k, v in values.items() if (k, v) not in only.items()}
    return document


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {"search.cycles": 3, "seed": 1} into {"search": {"cycles": 3}, "seed": 1}."""
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is None:
            continue
        *tables, name = key.split(".")
        if len(tables) != 2 * (tables[:1] == [_DEVICE]) and len(tables) > 1:
            raise ConfigError(f"unknown key '{key}'; write KEY, TABLE.KEY or {_DEVICE}.NAME.KEY")
        place = nested
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ConfigError(f"'{table}' is given a value, and '{key}' a key of it")
        place[name] = value
    return nested


def assigned(texts: Iterable[str]) -> dict[str, Any]:
    """Return overrides that are written as "search.cycles=24", values as in TOML or plain text.

    Raises:
        ConfigError: if one is no assignment.

    Example:
        >>> assigned(["search.cycles=24", "data.colour=bgr", "data.mean=[0.5]"])
        {'search.cycles': 24, 'data.colour': 'bgr', 'data.mean': [0.5]}
    """
    given = {}
    for text in texts:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not all(key.split(".")):
            raise ConfigError(
                f"'{text}' sets nothing; write TABLE.KEY=VALUE, for example search.cycles=24"
            )
        try:
            given[key] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # not quoted, as a shell leaves it
            given[key] = value
    return given


def _laid_over(document: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in given.items():
        below = document.get(key, {})
        if not isinstance(value, dict):
            merged[key] = value
        elif isinstance(below, dict):
            merged[key] = {**below, **value}
    return merged


def _located(document: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a document absolute, those relative to `base` included."""
    made = dict(document)
    for name, table in _TABLES.items():
        if isinstance(document.get(name), dict):
            made[name] = _located_fields(document[name], table, base)
    return _located_fields(made, RunConfig, base)


def _located_fields(values: dict[str, Any], table: type, base: Path) -> dict[str, Any]:
    made = dict(values)
    for field in dataclasses.fields(table):
        value = values.get(field.name)
        try:
            if field.name == "source" and isinstance(value, str):
                made[field.name] = located_source(value, base)
            elif field.type == Place | None and isinstance(value, str | Path):
                made[field.name] = str(located(value, base))
            elif field.type == tuple[Place, ...] and isinstance(value, list | tuple):
                made[field.name] = [
                    str(located(v, base)) if isinstance(v, str) else v for v in value
                ]
        except ValueError as error:
            raise ConfigError(f"{field.name}: {error}") from error
    return made


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a document as JSON values, of bounded depth and numbers of 64 bits."""
    if depth > _DEEPEST:
        raise ConfigError(f"a run file's tables and lists are at most {_DEEPEST} deep")
    match value:
        case dict():
            return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
        case int() if value.bit_length() > 64:
            raise ConfigError(
                f"a run file's whole numbers must fit 64 bits, got one of {value.bit_length()} bits"
            )
        case str() | bool() | int() | float() | None:
            return value
        case Path():
            return str(value)
    # A TOML date suits no key; as an object it is refused with the key's name.
    return {"date": str(value)}


def _holds(given: dict[str, Any], place: tuple[int | str, ...]) -> bool:
    if len(place) < 2:
        return place[0] in given
    table = given.get(str(place[0]))
    return place[1] in table if isinstance(table, dict) else table is not None


def _sentence(place: tuple[int | str, ...], fault: Mapping[str, Any]) -> str:
    """Say in our words what pydantic found wrong at a place in the run file."""
    table, kind = str(place[0]), _TABLES.get(str(place[0]), RunConfig)
    if place[0] == _DEVICES and len(place) > 1:
        table, kind, place = f"{_DEVICE}.{place[1]}", DeviceConfig, place[1:]
    elif kind is RunConfig:
        table = ""
    where = f" in [{table}]" if table else ""
    if fault["type"] == "unexpected_keyword_argument":
        return _unknown(str(place[-1]), table, kind, fault["input"])
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}{where}"
    if fault["type"].startswith("dataclass_"):
        return f"[{table}] must be a table, got {_shown(fault['input'])}"
    expected = _EXPECTED.get(fault["type"]) or fault["msg"].removeprefix("Input should be ")
    name = str(place[1] if table else place[0])
    name = f"each value of {name}" if isinstance(place[-1], int) else name
    return f"{name}{where} must be {expected}, got {_shown(fault['input'])}"


def _unknown(key: str, table: str, kind: type, value: Any) -> str:
    homes = [
        name for name, home in _TABLES.items() if key in {f.name for f in dataclasses.fields(home)}
    ]
    known = [f.name for f in dataclasses.fields(kind)]
    if not table:
        tables = [f"[{t}]" for t in (*_TABLES, f"{_DEVICE}.NAME")]
        if isinstance(value, dict):
            return f"unknown table [{key}]; {did_you_mean(f'[{key}]', tables)}"
        known = [*_TOP, *_TABLES, _DEVICE]
    if table and key in _TOP:
        hint = "it belongs above the first table"
    elif homes:
        hint = f"it belongs in {' or '.join(f'[{home}]' for home in homes)}"
    else:
        hint = did_you_mean(key, known)
    return f"unknown key '{key}'{f' in [{table}]' if table else ''}; {hint}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the keys that have no value, which TOML cannot say."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }
