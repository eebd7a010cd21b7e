"""Jetson's own tools for power modes and clocks, asked and told; what holds them is `clocks`.

    nvpmodel -q                      which mode
    nvpmodel -m ID                   change it; some changes need a restart, which it asks for
    jetson_clocks --store FILE       keep the clocks as they are
    jetson_clocks                    raise every clock to the mode's highest and pin it there
    jetson_clocks --restore FILE     put them back

The changing ones need root: where the agent is not root, `sudo -n`, which never asks for a
password. `SUDOERS` are the lines that permit exactly these commands and no other argument.
FILE is below /run, where only root can write: a user cannot turn it into another file, and it
is gone after a restart, as are the clocks that it describes. What a changing tool says goes to
a file that the caller gives, which stays open as long as the tool runs, whatever becomes of the
caller: a lock on that file is the tool's as well.
"""

import os
import re
import subprocess
from typing import IO, Any, Dict, List, NamedTuple, Optional

from gensynth.devices.agent.wire import sysfs
from gensynth.devices.agent.wire.status import Fault

STORED = "/run/gensynth-clocks.conf"
TIMEOUT_S = 60
_MODE = re.compile(r"NV Power Mode\s*:\s*(\S+)\s+(\d+)")
_DEFINED = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")
_REBOOT = re.compile(r"reboot", re.IGNORECASE)


class Mode(NamedTuple):
    """A power mode of nvpmodel."""

    id: int
    name: str


class Refused(Exception):
    """A tool that is not there, is not permitted, or failed; the message says which."""


def current_mode(root: str) -> Optional[Mode]:
    """Return the power mode; None where there is no nvpmodel."""
    program = sysfs.executable(root, "nvpmodel")
    if program is not None:
        try:
            found = _MODE.search(_run([program, "-q"], b""))
        except Refused:
            found = None
        if found:
            return Mode(int(found.group(2)), found.group(1))
    status = re.search(r"pmode:(\d+)", sysfs.text(root, "/var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    names = {mode.id: mode.name for mode in modes(root)}
    number = int(status.group(1))
    return Mode(number, names.get(number, str(number)))


def modes(root: str) -> List[Mode]:
    """Return the power modes that the board's configuration defines."""
    text = sysfs.text(root, "/etc/nvpmodel.conf") or ""
    return [Mode(int(number), name) for number, name in _DEFINED.findall(text)]


def set_mode(root: str, number: int, out: IO[bytes]) -> None:
    """Change the power mode and read it again.

    Raises:
        Fault: `needs_reboot` if it only changes with a restart, which is never agreed to.
        Refused: if the mode is not there, not permitted, or did not change.
    """
    defined = [mode.id for mode in modes(root)]
    if defined and number not in defined:
        raise Refused("power mode {} is not one of {}".format(number, defined))
    try:
        said = _run(_privileged(root, "nvpmodel", ["-m", str(number)]), b"NO\n", out)
    except Refused as refusal:
        said = str(refusal)
        if not _REBOOT.search(said):
            raise
    now = current_mode(root)
    if now is not None and now.id == number:
        return
    if _REBOOT.search(said):
        raise Fault(
            "needs_reboot",
            "power mode {} needs a restart of the board; do it yourself, nothing here answers "
            "yes to that: sudo nvpmodel -m {}".format(number, number),
        )
    raise Refused("power mode {} was set, but it is {}".format(number, now))


def store_clocks(root: str, out: IO[bytes]) -> None:
    """Keep the clocks as they are; what was kept before is replaced."""
    # it asks whether an old file may go; only ours ever has that name
    _run(_privileged(root, "jetson_clocks", ["--store", _stored(root)]), b"y\n", out)


def lock_clocks(root: str, out: IO[bytes]) -> None:
    """Pin every clock to the highest of the power mode."""
    _run(_privileged(root, "jetson_clocks", []), b"", out)


def restore_clocks(root: str, out: IO[bytes]) -> None:
    """Put the clocks back as they were kept."""
    _run(_privileged(root, "jetson_clocks", ["--restore", _stored(root)]), b"", out)


def can(root: str, name: str, arguments: List[str]) -> Optional[str]:
    """Return why this user may not run a tool, or None if it may; nothing is run."""
    try:
        command = _privileged(root, name, arguments)
    except Refused as refusal:
        return str(refusal)
    if command[0].endswith("sudo"):
        try:
            _run(command[:2] + ["-l"] + command[2:], b"")
        except Refused:
            return "sudo asks for a password for {}".format(" ".join(command[2:]))
    return None


def sudoers(root: str, user: str) -> List[str]:
    """Return the lines for /etc/sudoers.d/gensynth: these commands, and no other argument."""
    lines = []
    nvpmodel, clocks = (sysfs.executable(root, n) for n in ("nvpmodel", "jetson_clocks"))
    if nvpmodel is not None:
        # no "*": it would also match blanks, and with them further options
        commands = ["{} -m {}".format(nvpmodel, mode.id) for mode in modes(root)]
        lines += ["{} ALL=(root) NOPASSWD: {}".format(user, command) for command in commands]
    if clocks is not None:
        # "" means: without arguments
        for arguments in ('""', "--store " + _stored(root), "--restore " + _stored(root)):
            lines.append("{} ALL=(root) NOPASSWD: {} {}".format(user, clocks, arguments))
    return lines


def _stored(root: str) -> str:
    return sysfs.locate(root, STORED)


def _privileged(root: str, name: str, arguments: List[str]) -> List[str]:
    program = sysfs.executable(root, name)
    if program is None:
        raise Refused("no {} on this machine".format(name))
    if os.geteuid() == 0:
        return [program] + arguments
    sudo = sysfs.executable(root, "sudo")
    if sudo is None:
        raise Refused("{} needs root, and there is no sudo".format(name))
    return [sudo, "-n", program] + arguments


def _run(command: List[str], answer: bytes, out: Optional[IO[bytes]] = None) -> str:
    """Return what a tool says; it is never left waiting for an answer."""
    if out is not None:
        out.truncate(0)
    environment: Dict[str, Any] = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            command,
            input=answer,
            stdout=subprocess.PIPE if out is None else out,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused("{}: {}".format(" ".join(command), error)) from error
    content = done.stdout
    if out is not None:
        out.seek(0)
        content = out.read()
    said = content.decode("utf-8", "replace").strip()
    if done.returncode:
        raise Refused(
            "{} ended with {}: {}".format(" ".join(command), done.returncode, said[-300:])
        )
    return said
