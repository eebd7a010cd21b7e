"""The machines a user has named, kept in the user's configuration folder.

    devices.toml    one table a device: its ssh destination, its profile, its Python, its serial
    known_hosts     the host keys that the user has seen and taken, under the devices' aliases

`local`, this machine, is always there and stands in no file. A device is only what the user
said of it; what it really is, its agent says when asked (`gensynth.devices.check`).
"""

import contextlib
import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired

import platformdirs
import tomli_w
from pydantic import with_config
from typing_extensions import TypedDict

from gensynth.atomic_files import write_bytes
from gensynth.devices.hostkeys import HostKey
from gensynth.devices.profiles import find_profile
from gensynth.errors import ConfigError, DeviceError
from gensynth.outside import STRICT, Form, read_text
from gensynth.suggestion import did_you_mean

_ALIAS = re.compile(r"[a-z0-9-]{1,64}")
# What OpenSSH takes as a destination, without anything that it or a shell could read as more.
_DESTINATION = re.compile(
    r"(ssh://)?([A-Za-z0-9._][A-Za-z0-9._-]*@)?"
    r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)"
    r"(:[0-9]{1,5})?"
)
_PYTHON = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*")
_SERIAL = re.compile(r"[0-9a-f]{16}")
_HEAD = "# Devices of gensynth; made by: gensynth devices add\n"


def check_alias(alias: str) -> None:
    """Refuse what cannot be an alias.

    Raises:
        ConfigError: saying what can.
    """
    if not _ALIAS.fullmatch(alias) or alias.startswith("-"):
        raise ConfigError(
            f"a device's alias must be 1 to 64 of a-z, 0-9 and -, not beginning with -, "
            f"got {alias!r}"
        )


def _check_destination(destination: str) -> None:
    if len(destination) > 255 or not _DESTINATION.fullmatch(destination):
        raise ConfigError(
            "a device is reached as USER@HOST, HOST of one's ssh configuration or "
            f"ssh://USER@HOST:PORT, got {destination!r}"
        )
    scheme = destination.startswith("ssh://")
    if not scheme and re.search(r"[A-Za-z0-9]:[0-9]+$", destination) and "::" not in destination:
        raise ConfigError(
            f"a port is only known in the form ssh://USER@HOST:PORT, got {destination!r}"
        )


@dataclass(frozen=True)
class Device:
    """A machine that networks are measured on.

    Attributes:
        alias: what the user calls it, of [a-z0-9-]; also its host key's name.
        destination: as ssh takes it, such as "nvidia@192.168.55.1"; None is this machine.
        profile: what kind of board it is; a name of `gensynth.devices.profiles`.
        python: the command that starts Python there.
        serial: hash of its serial number as its agent told it; None before it did, or could.
        added_utc: when it was registered, with which its control charts begin.
    """

    alias: str
    destination: str | None
    profile: str = "generic"
    python: str = "python3"
    serial: str | None = None
    added_utc: str | None = None

    def __post_init__(self) -> None:
        check_alias(self.alias)
        if self.destination is not None:
            _check_destination(self.destination)
        if not _PYTHON.fullmatch(self.python):
            raise ConfigError(
                f"python must be a command or a path without spaces, got {self.python!r}"
            )
        if self.serial is not None and not _SERIAL.fullmatch(self.serial):
            raise ConfigError(f"serial must be 16 hexadecimal digits, got {self.serial!r}")
        if self.added_utc is not None:
            try:
                datetime.fromisoformat(self.added_utc)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"added_utc must be a time, got {self.added_utc!r}") from error
        find_profile(self.profile)


LOCAL = Device("local", None, profile="local")
"""This machine."""


def folder() -> Path:
    """Return where the registry stands, whether or not it is there."""
    return platformdirs.user_config_path("gensynth")


def known_hosts() -> Path:
    """Return our own file of host keys, the only one that ssh is to read for a device."""
    return folder() / "known_hosts"


def find(alias: str) -> Device:
    """Return a device by its alias.

    Raises:
        DeviceError: if none has it, with the command that adds it.
        ConfigError: if it cannot be an alias, or the registry is damaged.
    """
    if alias == LOCAL.alias:
        return LOCAL
    check_alias(alias)
    devices = _read()
    if alias not in devices:
        near = f"; {did_you_mean(alias, devices)}" if devices else ""
        raise DeviceError(
            f"no device named '{alias}'{near}; add it with: gensynth devices add {alias} USER@HOST"
        )
    return devices[alias]


def all_devices() -> tuple[Device, ...]:
    """Return every device, `local` first, then by alias.

    Raises:
        ConfigError: if the registry is damaged.
    """
    devices = _read()
    return (LOCAL, *(devices[alias] for alias in sorted(devices)))


def check_free(alias: str) -> None:
    """Refuse an alias that is taken, before a machine is asked for its key.

    Raises:
        DeviceError: if it is.
        ConfigError: if it cannot be an alias, or the registry is damaged.
    """
    check_alias(alias)
    _refuse_taken(alias, _read())


def add(device: Device, key: HostKey) -> Device:
    """Keep a device and the host key that its user has taken for it; return it as registered.

    Raises:
        DeviceError: if the alias is taken, or the files cannot be written.
        ConfigError: if the registry is damaged.
    """
    with _locked():
        devices = _read()
        _refuse_taken(device.alias, devices)
        # The key first: a device without one cannot be reached, a key alone harms nobody.
        _write(known_hosts(), [*_keys_but(device.alias), f"{device.alias} {key.type} {key.key}\n"])
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        registered = dataclasses.replace(device, added_utc=now)
        _write_devices({**devices, device.alias: registered})
    return registered


def replace(device: Device) -> None:
    """Keep what has become known of a device that is registered, such as its profile."""
    with _locked():
        devices = _read()
        if device.alias not in devices:
            raise DeviceError(f"no device named '{device.alias}' is registered")
        _write_devices({**devices, device.alias: device})


def remove(alias: str) -> None:
    """Forget a device and its host key; nothing on the device is touched.

    Raises:
        DeviceError: if there is none, or it is `local`.
    """
    if find(alias) == LOCAL:
        raise DeviceError("'local' is this machine and cannot be removed")
    with _locked():
        devices = _read()
        devices.pop(alias, None)
        _write_devices(devices)
        _write(known_hosts(), _keys_but(alias))


def _refuse_taken(alias: str, devices: Mapping[str, Device]) -> None:
    if alias == LOCAL.alias:
        raise DeviceError("'local' is this machine already; choose another alias")
    if alias in devices:
        raise DeviceError(
            f"'{alias}' is another device already, {devices[alias].destination}; choose another "
            f"alias, or first run: gensynth devices remove {alias}"
        )


def _read() -> dict[str, Device]:
    path = folder() / "devices.toml"
    try:
        tables = tomllib.loads(read_text(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is damaged: it is too deep; mend it or remove it") from error
    except ValueError as error:  # TOML's and UTF-8's
        raise ConfigError(f"{path} is damaged: {error}; mend it or remove it") from error
    return {alias: _device(path, alias, table) for alias, table in tables.items()}


class _Table(TypedDict):
    """What stands in the file of one device."""

    destination: str
    profile: NotRequired[str]
    python: NotRequired[str]
    serial: NotRequired[str]
    added_utc: NotRequired[str]


_TABLE: Form[_Table] = Form(with_config(STRICT | {"extra": "forbid"})(_Table))


def _device(path: Path, alias: str, table: Any) -> Device:
    try:
        return Device(alias, **_TABLE.check(table))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: device '{alias:.64}' cannot be read: {error}") from error


def _write_devices(devices: Mapping[str, Device]) -> None:
    tables = {}
    for alias, device in sorted(devices.items()):
        said = dataclasses.asdict(device)
        tables[alias] = {key: said[key] for key in _Table.__annotations__ if said[key]}
    _write(folder() / "devices.toml", [_HEAD, "\n", tomli_w.dumps(tables)])


def _keys_but(alias: str) -> list[str]:
    path = known_hosts()
    if not path.exists():
        return []
    try:
        lines = read_text(path).splitlines(keepends=True)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}; mend it or remove it") from error
    return [line for line in lines if line.split()[:1] != [alias]]


def _write(path: Path, lines: list[str]) -> None:
    try:
        write_bytes(path, "".join(lines).encode())
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let one process at a time change the registry."""
    from filelock import FileLock  # here, since most commands only read

    try:
        folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder() / "devices.lock")
        lock.acquire()
    except OSError as error:
        raise DeviceError(f"cannot write in {folder()}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
