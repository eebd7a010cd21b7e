"""The command: one fault after the other in a copy of the checkout; exit code 1 if one passed.

Libraries are imported once, here; each fault is tried in a fork of this process, which takes the
copy's own modules. Tests that the system ends, for want of memory say, have noticed as well; tests
that do not end in time have not, since a machine may only be busy.
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

FAULTS = ROOT / "tests" / "mutations" / "mutations.toml"
RESULT = FAULTS.with_name("result.json")
GOAL = 0.95
PATIENCE_S = 900
MEMORY = 6 << 30
LIBRARIES = (
    "numpy", "onnx", "PIL.Image", "pydantic", "pytest", "rich", "safetensors.torch",
    "scipy.stats", "torch", "torch.fx", "typer",
)  # fmt: skip
NO_PYTEST = 99
NOTICED, PASSED, NO_PLACE, BROKEN = "noticed", "passed", "no such place", "no test ran"
NO_END = "did not end"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        claim: what holds without it, in words; no two are alike.
        file: that it is put into.
        old, new: text that stands there once, and what takes its place.
        tests: that should notice.
    """

    claim: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def put_into(self, checkout: Path) -> bool:
        """Put the fault into a checkout; return False if its place is not there once."""
        path = checkout / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1 or self.old == self.new:
            return False
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return True


def read() -> list[Fault]:
    """Return the faults that the file names."""
    entries = tomllib.loads(FAULTS.read_text(encoding="utf-8"))["fault"]
    faults = [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    twice = [claim for claim, n in Counter(fault.claim for fault in faults).items() if n > 1]
    if twice:
        raise ValueError(f"{FAULTS.name} makes a claim twice: {twice[0]}")
    return faults


def main() -> None:
    """Try the faults that are asked for, and note what became of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("number", type=int, nargs="*", help="only these; all without")
    parser.add_argument("--only", default="", help="only claims and files with these words in them")
    parser.add_argument("--open", action="store_true", help="only what is not noticed yet")
    parser.add_argument("--list", action="store_true", help="say which there are, and try none")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    faults = read()
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    chosen = [
        number
        for number in asked.number or range(len(faults))
        if asked.only in f"{faults[number].file} {faults[number].claim}"
        and not (asked.open and known.get(faults[number].claim) == NOTICED)
    ]
    if asked.list:
        for number in chosen:
            fault = faults[number]
            say(f"{number:3} {known.get(fault.claim, 'not tried'):13} {fault.file}: {fault.claim}")
    else:
        for name in LIBRARIES:
            importlib.import_module(name)
        with tempfile.TemporaryDirectory() as folder:
            checkout = Path(folder) / "checkout"
            copy(checkout)
            for number in chosen:
                began_s = time.monotonic()
                found = attempt(checkout, faults[number], Path(folder) / "log")
                known[faults[number].claim] = found
                seconds = time.monotonic() - began_s
                say(f"{number:3} {found:13} {seconds:4.0f} s  {faults[number].claim}")
                keep(known, faults)
    noticed = sum(known.get(fault.claim) == NOTICED for fault in faults)
    say(f"{noticed} of {len(faults)} are noticed, {100 * noticed / len(faults):.1f} %")
    sys.exit(0 if noticed >= GOAL * len(faults) else 1)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def keep(known: dict[str, str], faults: list[Fault]) -> None:
    """Write what became of the faults that there are, in their order."""
    there = {fault.claim: known[fault.claim] for fault in faults if fault.claim in known}
    RESULT.write_text(json.dumps(there, indent=1) + "\n", encoding="utf-8")


def copy(checkout: Path) -> None:
    """Copy the files of this checkout, as they are now, and its links."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, checkout / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def attempt(checkout: Path, fault: Fault, log: Path) -> str:
    """Return what became of one fault; the checkout is then as before."""
    path = checkout / fault.file
    before = path.read_bytes()
    if not fault.put_into(checkout):
        return NO_PLACE
    try:
        status = run(checkout, fault.tests, log)
    finally:
        path.write_bytes(before)
    told = {None: NO_END, 0: PASSED, 4: BROKEN, 5: BROKEN, NO_PYTEST: BROKEN}
    return told.get(status, NOTICED)


def run(checkout: Path, tests: tuple[str, ...], log: Path) -> int | None:
    """Run tests in a fork of this process up to the first that fails.

    Returns:
        pytest's exit code, negative where the system ended it; None if it did not end in time.
    """
    child = os.fork()
    if child == 0:
        code = NO_PYTEST
        try:
            os.setsid()
            os.chdir(checkout)
            with log.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            code = _tested(checkout, tests)
        except BaseException:  # noqa: BLE001  (nothing may leave this process but its exit code)
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    deadline_s = time.monotonic() + PATIENCE_S
    status = None
    try:
        while status is None and time.monotonic() < deadline_s:
            ended, found = os.waitpid(child, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(found)
            else:
                time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    return status


def _tested(checkout: Path, tests: tuple[str, ...]) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    own = [n for n in sys.modules if n.split(".")[0] in ("gensynth", "tests")]
    for name in own:
        del sys.modules[name]
    sys.path.insert(0, str(checkout))
    os.environ["PYTHONPATH"] = str(checkout)  # of the commands that tests start
    sys.argv = ["pytest"]
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])
    sys.stdout.flush()
    return int(status)


if __name__ == "__main__":
    main()
