"""The user's own OpenSSH: how it is called, and what its last words mean.

Keys, jump hosts and names come from the user's configuration. What is set here is what a
program needs that cannot answer questions: no prompt, no forwarding, no shared connection, and
the host key that was registered under the device's alias (every Jetson on USB has the same
address).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from gensynth.devices import registry, way
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.hostkeys import HostKey
from gensynth.devices.registry import Device
from gensynth.devices.way import Way
from gensynth.outside import read_text

OLD_PYTHON = "gensynth-got-python"
_OWN_FAILURE = 255
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127

_SENT = re.compile(r"fingerprint for the \S+ key sent by the remote host is\s+(SHA256:[\w+/]+)")
_KNOWN = re.compile(r"^Offending \S+ key in (.+):(\d{1,9})\s*$", re.MULTILINE)
_REFUSED = re.compile(
    r"Permission denied|Too many authentication failures|No supported authentication methods"
)
_WHO_REFUSED = re.compile(r"^([^@\s]+)@(\S+): Permission denied.*", re.MULTILINE)
_OPEN_KEY = re.compile(r"Permissions \d+ for '(.+)' are too open")
_BROKEN_KEY = re.compile(r"^Load key \"(.+)\": (.+)$", re.MULTILINE)
_UNSIGNED = re.compile(r"^sign_and_send_pubkey: (.+)$", re.MULTILINE)
_TOO_MANY = "Too many authentication failures"
_OLD = re.compile(OLD_PYTHON + r" (\d+\.\d+)")


@dataclass(frozen=True)
class Said:
    """What a way that has ended left behind.

    Attributes:
        errors: the end of what ssh, and what ran over there, wrote as errors.
        printed: what came before Python's first words, such as a shell's notice.
    """

    errors: str
    printed: str = ""

    @property
    def last(self) -> str:
        """The last line of the errors, else of what was printed."""
        return way.last_words(self.errors) or way.last_words(self.printed) or "it said nothing"


def command(device: Device, timeout_s: float, remote: str) -> list[str]:
    """Return the call of ssh that runs a command on a device.

    Args:
        timeout_s: for the connection.
        remote: for the shell over there.
    """
    own = str(registry.known_hosts()).replace("%", "%%")
    options = {
        "IgnoreUnknown": "KnownHostsCommand",  # OpenSSH has it from 8.5 on
        "KnownHostsCommand": "none",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": device.alias,
        "UserKnownHostsFile": f'"{own}"',
        "GlobalKnownHostsFile": "/dev/null",
        "VerifyHostKeyDNS": "no",
        "ConnectTimeout": str(max(1, math.ceil(timeout_s))),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "ControlMaster": "no",
        "ControlPath": "none",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "UpdateHostKeys": "no",
        "EscapeChar": "none",
        "LogLevel": "ERROR",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    assert device.destination is not None
    return ["ssh", "-T", *given, "--", device.destination, remote]


def explain(device: Device, code: int | None, said: Said, fault: Fault) -> Fault:
    """Return what it means that the way to a device ended.

    Args:
        code: ssh's exit code; None if it had to be killed.
        said: what it, and what ran over there, wrote.
        fault: what we saw, which stands if nothing better is known.
    """
    old = _OLD.search(said.errors)
    if old:
        return Fault(
            "version_mismatch",
            f"{device.alias} must have Python 3.6 or newer, got {old[1]} as {device.python!r}; "
            "name another when adding the device, such as --python python3.8",
        )
    if code in (_NOT_FOUND, _NOT_EXECUTABLE):
        return Fault(
            "runtime_missing",
            f"{device.alias} must have Python as {device.python!r}: {said.last}; install "
            "python3 there, or name its path with --python when adding the device",
        )
    if code == _OWN_FAILURE and device.destination is not None:
        return _own_failure(device, way.find(device.destination), said)
    return Fault(fault.status, f"{device.alias}: {fault.message}; {said.last}", fault.details)


def _own_failure(device: Device, found: Way, said: Said) -> Fault:
    unknown = found.unknown_jump(said.errors, device.alias)
    if unknown is not None:
        message = f"{device.alias} cannot be reached: {unknown}"
        return Fault("host_key_changed", message, {"known": None, "jumps": list(found.jumps)})
    if way.OTHER_KEY.search(said.errors):
        return _changed_key(device, said.errors)
    if way.UNVERIFIED.search(said.errors):
        return Fault(
            "host_key_changed",
            f"{device.alias} must show a host key that is known, and none is known for it; "
            f"look at its fingerprint and take it with: gensynth devices remove {device.alias} "
            f"and gensynth devices add {device.alias} {device.destination}",
            {"known": None},
        )
    if _REFUSED.search(said.errors):
        return Fault("auth_failed", _refusal(device, found, said))
    return Fault(
        "device_lost",
        f"{device.alias} cannot be reached: {way.last_words(said.errors, 2) or 'ssh said nothing'}",
    )


def _refusal(device: Device, found: Way, said: Said) -> str:
    """Return why no key of the user's was taken, and what to do."""
    place, destination = device.alias, device.destination
    who = _WHO_REFUSED.search(said.errors)
    if found.jumps and who and (who[1], who[2]) != (found.user, found.host):
        place = destination = " or ".join(found.jumps)
    words = who[0] if who else said.last
    must = f"{place} must accept one of your keys without a password ({words})"
    open_to_all = _OPEN_KEY.search(said.errors)
    if open_to_all:
        return f"{must}; others can read your key, so ssh leaves it out: chmod 600 {open_to_all[1]}"
    broken = _BROKEN_KEY.search(said.errors)
    if broken:
        return f"{must}; ssh cannot read {broken[1]} ({broken[2]}): put it there anew"
    unsigned = _UNSIGNED.search(said.errors)
    if unsigned:
        return (
            f"{must}; it may know yours, but {unsigned[1]}: a key that asks to be touched or "
            "confirmed serves no program, so name another in ~/.ssh/config, with IdentityFile "
            f"under Host {found.host}"
        )
    if _TOO_MANY in said.errors:
        return (
            f"{must}; your ssh-agent offers more keys than it tries: name the right one in "
            f"~/.ssh/config, with IdentityFile and IdentitiesOnly yes under Host {found.host}"
        )
    unlocked = way.unlock(found)
    if unlocked is not None:
        return (
            f"{must}; nobody is asked for a passphrase here, and a key of yours has one that no "
            f"ssh-agent knows: {unlocked}"
        )
    return f"{must}; copy one there with: ssh-copy-id {destination}"


def _changed_key(device: Device, text: str) -> Fault:
    # Any program over there can write such lines, so a file that they name is not opened.
    sent, known, own = _SENT.search(text), _KNOWN.search(text), registry.known_hosts()
    details = {
        "sent": sent[1] if sent else None,
        "known": _registered(int(known[2])) if known and Path(known[1]) == own else None,
    }
    return Fault(
        "host_key_changed",
        f"{device.alias} shows the host key {details['sent']}, and {details['known']} was "
        "registered: it is another machine, was set up anew, or someone is in between. If you "
        f"know why, run: gensynth devices remove {device.alias} and gensynth devices add "
        f"{device.alias} {device.destination}",
        details,
    )


def _registered(line: int) -> str | None:
    """Return the fingerprint of the key in a line of our own file of host keys."""
    try:
        words = read_text(registry.known_hosts()).splitlines()[line - 1].split()
        kind, key = words[2:4] if words[0].startswith("@") else words[1:3]
        return HostKey(kind, key).fingerprint
    except (OSError, ValueError, IndexError):
        return None
