"""The way to a machine as the user's OpenSSH has it: asked where the way failed, to name why.

ssh says little of what stands between: of a jump host nothing but its last words, of a key with
a passphrase nothing at all. `ssh -G`, `ssh-keygen` and `ssh-add` know it; none of them connects.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ASK_S = 10
_NO_AGENT = 2  # ssh-add's exit code where none answers

NO_KEY = re.compile(r"No \S+ host key is known for (\S+) and")
OTHER_KEY = re.compile(r"Host key for (\S+) has changed")
UNVERIFIED = re.compile(r"host key is known for|Host key verification failed")
# Of a board's loader with LD_PRELOAD, and of its shells about a language that is not there.
_EVERY_TIME = re.compile(r"^ERROR: ld\.so: |setlocale|^perl: warning|^Warning: Permanently added")
# Of whoever lost the other side: why is what was said before.
_LOST = re.compile(r"^kex_exchange_identification: |^Connection closed by |^banner exchange: ")


@dataclass(frozen=True)
class Way:
    """How ssh would go.

    Attributes:
        destination: what the user calls it.
        user: over there.
        host: its name or address.
        jumps: the hosts in between, as ssh takes them.
        proxy: the command that leads there instead; empty if there is none.
        keys: the files of the user's keys that are there.
        agent: the socket of the user's ssh-agent; None if none is set.
    """

    destination: str
    user: str
    host: str
    jumps: tuple[str, ...]
    proxy: str
    keys: tuple[Path, ...]
    agent: str | None

    def unknown_jump(self, errors: str, name: str) -> str | None:
        """Return what is wrong with the host key of a host in between; None if nothing is.

        Args:
            errors: what ssh wrote.
            name: under which the machine's own host key is looked up.
        """
        other = OTHER_KEY.search(errors)
        named = NO_KEY.search(errors) or other
        if not (self.jumps or self.proxy) or not UNVERIFIED.search(errors):
            return None
        if named and named[1] == name:
            return None
        if self.jumps:
            hosts = " or ".join(self.jumps)
            logins = [f"ssh {'ssh://' if ':' in jump else ''}{jump}" for jump in self.jumps]
        else:
            hosts, logins = f"a host of '{self.proxy}'", [f"ssh {self.destination}"]
        return (
            f"the host key of {hosts}, over which your ssh configuration leads, "
            f"{'has changed' if other else 'is not known'}; log in there yourself, where ssh shows "
            f"it and says how to go on: {', then '.join(logins)}"
        )


def environment() -> dict[str, str]:
    """Return the variables for ssh: a host on the way, which no option reaches, asks nobody."""
    return {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}


def find(destination: str) -> Way:
    """Return the way to a destination; what ssh does not say of it is empty."""
    said: dict[str, list[str]] = {}
    for line in _said(["ssh", "-G", "--", destination])[1].splitlines():
        name, _, value = line.partition(" ")
        said.setdefault(name, []).append(value.strip())
    first = {name: values[0] for name, values in said.items()}
    jumps, proxy = first.get("proxyjump", "none"), first.get("proxycommand", "none")
    files = (Path(name).expanduser() for name in said.get("identityfile", []))
    return Way(
        destination,
        first.get("user", ""),
        first.get("hostname", ""),
        () if jumps == "none" else tuple(jumps.split(",")),
        "" if proxy == "none" else proxy,
        tuple(file for file in files if file.is_file()),
        _agent(first.get("identityagent", "SSH_AUTH_SOCK")),
    )


def unlock(way: Way) -> str | None:
    """Return the command with which ssh could use the user's keys that have a passphrase.

    Nobody is asked for one here, so such a key only serves while an ssh-agent holds it. None if
    each can be used.
    """
    locked = [key for key in way.keys if _has_passphrase(key)]
    environment = {**os.environ, "SSH_AUTH_SOCK": way.agent or ""}
    code, held = _said(["ssh-add", "-l"], environment)
    missing = [str(key) for key in locked if not _is_among(key, held)]
    if not missing:
        return None
    begin = 'eval "$(ssh-agent)" && ' if code == _NO_AGENT or way.agent is None else ""
    return f"{begin}ssh-add {' '.join(missing)}"


def last_words(text: str, lines: int = 1) -> str:
    """Return the last lines that say something; of ssh's two, the last is often only that it ends.

    What every start complains of is left out, and that the way ended where it is said why.
    """
    stripped = (line.strip() for line in text.splitlines())
    said = [line for line in stripped if line and not _EVERY_TIME.search(line)]
    return "; ".join(([line for line in said if not _LOST.search(line)] or said)[-lines:])


def _agent(said: str) -> str | None:
    """Return the socket that a configuration's IdentityAgent means."""
    if said == "none":
        return None
    if said == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if said.startswith("$"):
        return os.environ.get(said.strip("${}")) or None
    return str(Path(said).expanduser())


def _has_passphrase(key: Path) -> bool:
    _, said = _said(["ssh-keygen", "-y", "-P", "", "-f", str(key)])
    return "incorrect passphrase" in said


def _is_among(key: Path, held: str) -> bool:
    found = re.search(r"SHA256:\S+", _said(["ssh-keygen", "-l", "-f", str(key)])[1])
    return found is not None and found[0] in held


def _said(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return what one of OpenSSH's programs ends with and says; nothing where it cannot be run."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ASK_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return _NO_AGENT, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")
