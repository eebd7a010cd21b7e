"""Power mode and clocks, changed for one job and put back whatever happens.

    with hold({"power_mode": 0, "lock": True}, home, root) as held:
        ...                                   # held.during, held.locked, held.flags

Nothing is touched unless asked. Before the first change the present state is written to a
journal in `home`. It is put back when the block ends; by a watchdog process when the agent is
killed, whose pipe then ends; and by the next agent's `restore_pending` when the board lost its
power meanwhile. Who may not change the clocks goes on without, with the flag `clocks_unlocked`.
The journal has a lock, which the kernel releases with its owner and with the tool that the owner
has started, so only one of these acts, and none while a killed one's tool is still at work.
"""

import fcntl
import getpass
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, Any, Dict, Iterator, List, Optional

from gensynth.devices.agent.board import nvpmodel, speeds
from gensynth.devices.agent.board.nvpmodel import Refused
from gensynth.devices.agent.wire import frames, processes
from gensynth.devices.agent.wire.processes import boot_id
from gensynth.devices.agent.wire.status import Fault

JOURNAL = "clocks.json"
LOCK = "clocks.lock"
WAIT_S = 30.0
_DONE = b"done"
_WATCHDOG = "from gensynth.devices.agent.board import clocks; clocks.watch(*sys.argv[1:])"


class Held:
    """What became of a request for clocks.

    Attributes:
        asked: the request, or None.
        before: power mode and clocks before, as JSON values.
        during: after the change, read again.
        locked: whether no clock can move; None where none can be read.
        restored: whether the board is as before; None until the block has ended, and where
            nothing was changed.
        flags: "clocks_unlocked", "power_mode_refused", "power_mode_changed",
            "clocks_not_restored".
        why: the tools' reasons for the flags.
    """

    def __init__(self, asked: Optional[Dict[str, Any]], before: Dict[str, Any]) -> None:
        self.asked = asked
        self.before = before
        self.during = before
        self.locked: Optional[bool] = before["locked"]
        self.restored: Optional[bool] = None
        self.flags: List[str] = []
        self.why: List[str] = []

    def describe(self) -> Dict[str, Any]:
        """Return the result's "clocks" object."""
        return dict(vars(self))

    def _flag(self, flag: str, why: object) -> None:
        if flag not in self.flags:
            self.flags.append(flag)
        self.why.append(str(why))


@contextmanager
def hold(request: Optional[Dict[str, Any]], home: str, root: str = "/") -> Iterator[Held]:
    """Change power mode and clocks as asked while the block runs.

    Args:
        request: {"power_mode": id or None, "lock": bool}; None changes nothing.
        home: folder of the journal.
        root: the folder below which the system's files and tools are.

    Raises:
        Fault: `needs_reboot` if the power mode only changes with a restart; `device_busy` if
            another agent holds the clocks.
    """
    held = Held(request, state(root))
    if not request or (request.get("power_mode") is None and not request.get("lock")):
        yield held
        return
    with _locked(home) as lock:
        _restore(home, root, lock)  # of an agent that died, if its watchdog died as well
        if os.path.exists(os.path.join(home, JOURNAL)):
            held._flag("clocks_unlocked", "what an earlier job changed could not be put back")
            yield held
            return
        held.before = state(root)
        _write_journal(home, root, held.before)
        watchdog = _start_watchdog(home, root)
        try:
            _change(held, request, root, lock)
            yield held
            mode, was = state(root)["power_mode"], held.during["power_mode"]
            if mode != was:
                held._flag("power_mode_changed", "{} was {}".format(mode, was))
        finally:
            why = _restore(home, root, lock)
            held.restored = why is None
            if why is not None:
                held._flag("clocks_not_restored", why)
            _dismiss(watchdog)


def restore_pending(home: str, root: str = "/") -> Optional[str]:
    """Put back what an agent that was killed left changed; call it when an agent starts.

    Returns:
        None if nothing is left to put back, or a living agent is at work; else why it failed.
    """
    if not is_pending(home):
        return None
    try:
        with _locked(home, wait_s=0.0) as lock:
            return _restore(home, root, lock)
    except Fault:
        return None


def is_pending(home: str) -> bool:
    """Return whether an agent that was killed left something to put back."""
    return os.path.exists(os.path.join(home, JOURNAL))


def state(root: str) -> Dict[str, Any]:
    """Return power mode and clocks as they are, as JSON values."""
    mode = nvpmodel.current_mode(root)
    found = speeds.clocks(root)
    found["power_mode"] = None if mode is None else dict(mode._asdict())
    return found


def survey(root: str = "/") -> Dict[str, Any]:
    """Return what can be set here, and the sudoers lines that permit the rest."""
    mode, modes = nvpmodel.current_mode(root), nvpmodel.modes(root)
    wanted = str(modes[0].id if modes else 0)
    why_not_set = nvpmodel.can(root, "nvpmodel", ["-m", wanted])
    why_not_lock = nvpmodel.can(root, "jetson_clocks", [])
    lines = nvpmodel.sudoers(root, _user())
    why = "; ".join(sorted({text for text in (why_not_set, why_not_lock) if text})) or None
    return {
        "power_modes": [dict(each._asdict()) for each in modes],
        "current": None if mode is None else mode.id,
        "can_set": why_not_set is None,
        "can_lock": why_not_lock is None,
        "why": why,
        "sudoers": lines if why and os.geteuid() else [],
    }


def _user() -> str:
    """Return the user as sudoers names it: by number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "#{}".format(os.getuid())


def watch(home: str, root: str) -> None:
    """Be the watchdog: put everything back when stdin ends without a last word."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() != _DONE:
        with _locked(home, wait_s=nvpmodel.TIMEOUT_S) as lock:
            _restore(home, root, lock)


def _change(held: Held, request: Dict[str, Any], root: str, lock: IO[bytes]) -> None:
    """Do what is asked as far as it is permitted, and read it again."""
    number, pin = request.get("power_mode"), bool(request.get("lock"))
    try:
        nvpmodel.store_clocks(root, lock)
        if number is not None and number != (held.before["power_mode"] or {}).get("id"):
            nvpmodel.set_mode(root, int(number), lock)
    except Refused as refusal:
        held._flag("clocks_unlocked", refusal)
        if number is not None:
            held._flag("power_mode_refused", refusal)
        pin = False
    if pin:
        try:
            nvpmodel.lock_clocks(root, lock)
        except Refused as refusal:
            held._flag("clocks_unlocked", refusal)
    held.during = state(root)
    held.locked = held.during["locked"]
    if pin and not held.locked:
        held._flag("clocks_unlocked", "clocks after jetson_clocks: {}".format(held.during))


def _write_journal(home: str, root: str, before: Dict[str, Any]) -> None:
    path = os.path.join(home, JOURNAL)
    with open(path + ".new", "w") as file:
        json.dump({"boot_id": boot_id(root), "before": before}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def _restore(home: str, root: str, lock: IO[bytes]) -> Optional[str]:
    """Put back what the journal says and remove it; return why that failed, or None.

    A restart resets clocks by itself, and keeps the power mode.
    """
    path = os.path.join(home, JOURNAL)
    try:
        with open(path, "rb") as file:
            journal = frames.parse(file.read(1 << 16))
        mode, ranges = journal["before"]["power_mode"], journal["before"]["ranges_mhz"]
        same_boot = journal["boot_id"] == boot_id(root)
        whole = _is_mode(mode) and all(map(_is_speed, ranges.values()))
    except FileNotFoundError:
        return None
    except (OSError, Fault, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        return "{} is no journal of clocks; set them by hand and remove it".format(path)
    now = state(root)
    try:
        if mode is not None and mode != now["power_mode"]:
            nvpmodel.set_mode(root, mode["id"], lock)
        if same_boot and not _same_clocks(ranges, root):
            nvpmodel.restore_clocks(root, lock)
            if not _same_clocks(ranges, root):
                return "clocks must be as before, {}, got {}".format(ranges, state(root))
    except (Refused, Fault) as error:
        return str(error)
    os.unlink(path)
    return None


def _is_mode(mode: Any) -> bool:
    return mode is None or (isinstance(mode["id"], int) and 0 <= mode["id"] <= 255)


def _is_speed(speed: Any) -> bool:
    return isinstance(speed, list) and all(
        number is None or isinstance(number, (int, float)) for number in speed
    )


def _same_clocks(before: Dict[str, List[float]], root: str) -> bool:
    """Return whether governors may choose as before; what they have chosen does not matter."""
    now = {name: list(speed[:2]) for name, speed in speeds.speeds(root).items()}
    return {name: speed[:2] for name, speed in before.items()} == now


@contextmanager
def _locked(home: str, wait_s: float = WAIT_S) -> Iterator[IO[bytes]]:
    os.makedirs(home, exist_ok=True)
    deadline_s = time.monotonic() + wait_s
    with open(os.path.join(home, LOCK), "a+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline_s:
                    raise Fault(
                        "device_busy", "another agent holds the clocks of this board"
                    ) from error
                time.sleep(0.02)
        yield file


def _start_watchdog(home: str, root: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        processes.command(_WATCHDOG, home, root),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends the agent's group does not end it
    )


def _dismiss(watchdog: "subprocess.Popen[bytes]") -> None:
    assert watchdog.stdin is not None
    try:
        watchdog.stdin.write(_DONE)
        watchdog.stdin.close()
    except OSError:
        pass  # it was killed: there is nothing to dismiss
    try:
        watchdog.wait(10)
    except subprocess.TimeoutExpired:
        watchdog.kill()
        watchdog.wait()
