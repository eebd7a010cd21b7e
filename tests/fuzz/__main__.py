"""The command: altered inputs at every door for some seconds; exit code 1 for any traceback."""

import argparse
import collections
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

PATIENCE_S = 30
MEMORY = 3 << 30
SHARED_MEMORY = Path("/dev/shm")
"""Where there is one: files that are opened and removed by the thousand want no disk."""
WAYS = 20


class TooLong(Exception):
    """An input was looked at for longer than anybody would wait."""


def main() -> None:
    """Try the doors; say how many inputs were tried, and where tracebacks came from."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all; each door gets a share")
    parser.add_argument("--door", action="append", help="only this one; may be given again")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, help="so many inputs a door, whatever time they take")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as home:
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = str(Path(home) / kind.lower())
        from tests.fuzz.agent_doors import DOORS as AGENT_DOORS
        from tests.fuzz.data_doors import DOORS as DATA_DOORS
        from tests.fuzz.doors import DOORS
        from tests.fuzz.onnx_doors import DOORS as ONNX_DOORS
        from tests.fuzz.user_doors import DOORS as USER_DOORS

        doors = DOORS | USER_DOORS | DATA_DOORS | ONNX_DOORS | AGENT_DOORS
        unknown = set(asked.door or ()) - doors.keys()
        if unknown:
            parser.error(f"no door {', '.join(sorted(unknown))}; there are {', '.join(doors)}")
        names = asked.door or list(doors)
        faults = 0
        for name in names:
            place = Path(home) / "doors" / name
            place.mkdir(parents=True)
            seconds = asked.seconds / len(names)
            faults += _try(name, doors[name], place, asked.first, asked.count, seconds)
    sys.exit(1 if faults else 0)


def _try(name: str, door: Any, place: Path, first: int, count: int | None, seconds: float) -> int:
    from gensynth.devices.agent.wire.status import Fault
    from gensynth.errors import GensynthError

    attempt = door(place)
    found: collections.Counter[str] = collections.Counter()
    shown: dict[str, str] = {}
    began_s, number, passed = time.perf_counter(), first, 0
    while number - first < count if count else time.perf_counter() - began_s < seconds:
        try:
            _patiently(attempt, f"{name} {number}")
            passed += 1
        except (GensynthError, Fault):
            pass
        except Exception as error:  # noqa: BLE001  (this is what is looked for)
            where = _where(error)
            found[where] += 1
            shown.setdefault(
                where,
                f"--door {name} --first {number} --count 1: {type(error).__name__}: {error!s:.200}",
            )
        number += 1
    took_s = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(
        f"{name}: {number - first:,} inputs in {took_s:.0f} s, {passed:,} let in, "
        f"{found.total():,} tracebacks at {len(found)} places; at most {peak:,} MiB\n"
    )
    for where, times in found.most_common(WAYS):
        sys.stdout.write(f"  {times} at {where}\n    {shown[where]}\n")
    sys.stdout.flush()
    return found.total()


def _patiently(attempt: Any, seed: str) -> None:
    """Try one input; a machine that stood still meanwhile has a second look at it."""
    signal.alarm(PATIENCE_S)
    try:
        try:
            attempt(Random(seed))
        except TooLong:
            signal.alarm(PATIENCE_S)
            attempt(Random(seed))
    finally:
        signal.alarm(0)


def _where(error: Exception) -> str:
    """Return the last place of a traceback in our code."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/tests/fuzz/" not in f.filename
    ]
    own = [
        f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename
    ]
    last = (own or frames or traceback.extract_tb(error.__traceback__))[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"


def _too_long(number: int, frame: Any) -> None:
    raise TooLong(f"not done within {PATIENCE_S} s")


if __name__ == "__main__":
    main()
