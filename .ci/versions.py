"""Run a quick part of the tests with other versions than those that `make test` takes.

    python .ci/versions.py lowest WORK      the lowest version declared of each direct dependency
    python .ci/versions.py highest WORK     the highest Python that this machine has

WORK is a folder for what is installed; uv, which installs it, is one of this Python's packages.
Of torch only a processor's build is taken: from its own index, else the one that this Python has
from where pip is set up to look. Where there is none for a Python, the tests that need no torch
run, and a line says so; so does one where no other Python can be had.
"""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from install_torch import reachable

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TORCH = next(line for line in PROJECT["dependencies"] if re.match(r"torch\b", line))
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# Each of the dependencies is at work in one of them.
WITHOUT_TORCH = (
    "test_config.py test_references.py data/test_folder.py data/test_cifar10.py "
    "bench/test_store.py bench/test_record.py devices/test_registry.py goals/test_ledger.py "
    "goals/test_intervals.py goals/test_requirements.py"
)
WITH_TORCH = (
    "test_config.py test_references.py data render bench/test_store.py goals/test_ledger.py "
    "export/test_onnx.py"
)


def uv(*words: str, quiet: bool = False) -> bool:
    """Run uv; return whether it succeeds."""
    stream = subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", "uv", "--quiet", *words]
    return subprocess.run(command, stdout=stream, stderr=stream).returncode == 0


def requirements(work: Path) -> Path:
    """Write what the project declares, development's tools among it, but torch."""
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    path = work / "requirements.txt"
    path.write_text("\n".join(line for line in declared if line != TORCH))
    return path


@functools.cache
def torch_index_answers() -> bool:
    """Return whether torch's own index of processor-only builds can be asked."""
    return reachable(TORCH_INDEX)


def install_torch(python: Path, *options: str) -> bool:
    """Install a processor's build of torch; return whether there is one for that Python."""
    install = ["pip", "install", "--python", str(python)]
    if torch_index_answers():
        return uv(*install, *options, "--torch-backend", "cpu", TORCH)
    here = metadata.version("torch")
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    said = subprocess.run(asked, capture_output=True, text=True).stdout
    links = (os.environ.get("PIP_FIND_LINKS") or said).split()
    if not here.endswith("+cpu") or not links:
        return False
    places = [word for link in links for word in ("--find-links", link)]
    return uv(*install, *places, f"torch=={here}", quiet=True)


def pythons() -> list[Path]:
    """Return the Pythons of this machine that are newer than this one, the newest first."""
    folders = [Path(name) for name in os.environ.get("PATH", "").split(os.pathsep)]
    folders += Path.home().glob(".pyenv/versions/*/bin")
    found: dict[int, Path] = {}
    for path in (path for folder in folders for path in folder.glob("python3.*")):
        minor = re.fullmatch(r"python3\.(\d+)", path.name)
        # A version manager's stand-in may be there without what it stands for.
        if minor and int(minor[1]) > sys.version_info.minor and _runs(path):
            found.setdefault(int(minor[1]), path)
    return [found[minor] for minor in sorted(found, reverse=True)]


def _runs(python: Path) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def environment(python: Path | str, work: Path, name: str, *options: str) -> Path | None:
    """Make an environment of a Python with all but torch; return its Python, None if it fails."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    inside = folder / "bin/python"
    install = ["pip", "install", "--python", str(inside)]
    made = (
        uv("venv", "--python", str(python), str(folder))
        and uv(*install, *options, "--only-binary", ":all:", "-r", str(requirements(work)))
        and uv(*install, "--no-deps", "--editable", str(ROOT))
    )
    return inside if made else None


def test(python: Path, *options: str) -> int:
    """Install torch beside what is there, and run the tests; return pytest's exit code."""
    has_torch = install_torch(python, *options)
    code = "import platform; print(platform.python_version())"
    version = subprocess.check_output([python, "-c", code], text=True).strip()
    if has_torch:
        code = "from importlib.metadata import version; print(version('torch'))"
        torch = subprocess.check_output([python, "-c", code], text=True).strip()
        print(f"Python {version}, torch {torch}", flush=True)
    else:
        print(f"Python {version}: no processor's build of torch can be had for it here, so only "
              "tests that need none run", flush=True)  # fmt: skip
    files = [f"tests/{name}" for name in (WITH_TORCH if has_torch else WITHOUT_TORCH).split()]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist"]
    command += ["loadfile", "-m", "not slow and not realtime", *files]
    return subprocess.run(command, cwd=ROOT).returncode


def main(leg: str, work: str) -> None:
    """Run a leg."""
    if importlib.util.find_spec("uv") is None:
        sys.exit(f"uv must be a package of {sys.executable}: {sys.executable} -m pip install uv")
    if leg == "lowest":
        lowest = "--resolution", "lowest-direct"
        python = environment(sys.executable, Path(work), leg, *lowest)
        sys.exit("the lowest versions cannot be installed" if python is None else
                 test(python, *lowest))  # fmt: skip
    for candidate in pythons():
        python = environment(candidate, Path(work), leg)
        if python is not None:
            sys.exit(test(python))
        print(f"{candidate}: not every dependency can be had for it")
    print("skipped: no newer Python can be had here")


if __name__ == "__main__":
    main(*sys.argv[1:])
