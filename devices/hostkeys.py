"""A machine's host key at the first contact, before anything is sent to it.

The key is fetched by OpenSSH itself, with the user's configuration (names, ports, jump
hosts), up to the key exchange and no further: no user key is offered and nothing is run.
Who sees the fingerprint and takes it is the caller; this module keeps nothing.
"""

import base64
import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gensynth.devices import way
from gensynth.errors import DeviceError
from gensynth.outside import read_text

_SHUTDOWN_S = 5
_NAME = "first-contact"


@dataclass(frozen=True)
class HostKey:
    """A host's public key.

    Attributes:
        type: as known_hosts has it, such as "ssh-ed25519".
        key: in base64.
    """

    type: str
    key: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key as OpenSSH writes it: "SHA256:" and base64 without padding."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def fetch(destination: str, *, timeout_s: int = 10) -> HostKey:
    """Ask a machine for its host key.

    Args:
        destination: as ssh takes it.
        timeout_s: for the connection.

    Raises:
        DeviceError: if there is no ssh here, or no answer there, with what ssh said.
    """
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "known_hosts"
        said = _exchange_keys(destination, seen, timeout_s)
        try:
            line = read_text(seen).split()
        except (OSError, ValueError):
            line = []
    if len(line) < 3:
        unknown = way.find(destination).unknown_jump(said, _NAME)
        if unknown is not None:
            raise DeviceError(f"{destination} cannot be reached: {unknown}")
        words = way.last_words(said, 2) or "ssh ended without a word"
        raise DeviceError(f"{destination} did not answer: {words}")
    key = HostKey(line[1], line[2])
    try:
        _ = key.fingerprint
    except ValueError as error:  # binascii's own is one
        raise DeviceError(f"{destination} answered with a damaged key: {error}") from error
    return key


def _exchange_keys(destination: str, seen: Path, timeout_s: int) -> str:
    """Connect without logging in, so that ssh notes the host's key; return what it wrote."""
    command = [
        "ssh", "-T",
        "-o", f"UserKnownHostsFile={seen}", "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=accept-new", "-o", "HashKnownHosts=no",
        "-o", "UpdateHostKeys=no", "-o", "CheckHostIP=no", "-o", "VerifyHostKeyDNS=no",
        "-o", f"HostKeyAlias={_NAME}",
        "-o", "BatchMode=yes", "-o", "PreferredAuthentications=none", "-o", "ForwardAgent=no",
        "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no",
        "-o", "ControlMaster=no", "-o", "ControlPath=none",
        "-o", f"ConnectTimeout={timeout_s}", "-o", "ConnectionAttempts=1",
        "--", destination, "true",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            env=way.environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a host on the way has no terminal to ask in
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s + _SHUTDOWN_S,
        )
    except FileNotFoundError as error:
        raise DeviceError("there is no ssh on this machine; install OpenSSH's client") from error
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s} s"
    return done.stderr
