"""Check an installed gensynth from outside its repository.

    cd /elsewhere && VENV/bin/python .ci/check_install.py

Every module of it imports, in one process; `gensynth --help` answers within 0.4 s of processor
time, which a busy machine does not lengthen, best of ten starts, without importing torch.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

HELP_S = 0.4


def import_everything() -> int:
    """Import every module but the agent's, which run on a board; return how many."""
    package = importlib.import_module("gensynth")
    place = Path(str(package.__file__)).resolve()
    if Path(__file__).resolve().parent.parent in place.parents:
        sys.exit(f"{place} is the checkout, not an installation")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "gensynth.")]
    names = [
        n for n in names if not n.startswith("gensynth.devices.agent.") and "__main__" not in n
    ]
    for name in names:
        importlib.import_module(name)
    return len(names)


def time_help() -> float:
    """Return the least processor time of ten `gensynth --help`, in seconds."""
    command = [str(Path(sys.executable).with_name("gensynth")), "--help"]
    times = []
    for _ in range(10):
        before = os.times()
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        times.append(sum(os.times()[2:4]) - sum(before[2:4]))  # user and system, of children
        if "synth" not in answer:
            sys.exit(f"gensynth --help does not name synth: {answer}")
    return min(times)


def imported_by_help() -> set[str]:
    """Return the top-level packages that `gensynth --help` imports."""
    code = (
        "import sys, contextlib, io\n"
        "sys.argv = ['gensynth', '--help']\n"
        "from gensynth.cli.app import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return set(done.stdout.split())


def main() -> None:
    """Check all of it."""
    print(f"{import_everything()} modules import")
    heavy = {"torch", "onnx", "onnxruntime"} & imported_by_help()
    if heavy:
        sys.exit(f"gensynth --help imports {sorted(heavy)}")
    took_s = time_help()
    print(f"gensynth --help: {took_s:.2f} s of processor time, best of 10")
    if took_s >= HELP_S:
        sys.exit(f"gensynth --help must take less than {HELP_S} s of processor time")


if __name__ == "__main__":
    main()
