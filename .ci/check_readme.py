"""Run the code blocks of Markdown files, in order, in one empty folder.

    python .ci/check_readme.py [--short] README.md docs/*.md

bash blocks run with `bash -eu`, python blocks with this interpreter, and the command `gensynth`
is the one installed beside it. A toml block is a run file: it is written under the name that its
first line gives (`# run.toml`) and must be read without complaint. Blocks of other languages
are not run. A block right after

    <!-- not run here: REASON -->

is left out, and its reason is printed. One right after

    <!-- may end with 1: REASON -->

may do so.

With --short, a search has fewer cycles and epochs than the reader's and less is required of it, and
a measurement is a short one.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^<!-- (?P<word>not run here|may end with 1): (?P<reason>[^\n]+?) -->\n\n?)?"
    r"^```(?P<language>bash|python|toml)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHORTER = {
    "gensynth synth": "--cycles 2 --finalists 2 --set finalists.epochs=2 "
    '--set search.full_networks=0 --require "top1 >= 60%" --require "macs <= 4M"',
    "gensynth bench": "--grade loop",
}
"""What is said besides, after a command's own words and before its comment."""
READ = "import pathlib, sys; from gensynth.config_file import read; read(pathlib.Path(sys.argv[1]))"


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        place: file and line, for messages.
        language: bash, python or toml.
        code: its lines.
        word: "not run here", "may end with 1", or None.
        reason: for the word, or None.
    """

    place: str
    language: str
    code: str
    word: str | None
    reason: str | None


def blocks(path: Path) -> Iterator[Block]:
    """Yield a file's blocks of the three languages, in order."""
    text = path.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        place = f"{path}:{line}"
        yield Block(place, match["language"], match["code"], match["word"], match["reason"])


def command(block: Block, folder: Path, *, short: bool) -> list[str]:
    """Return the command that runs a block."""
    if block.language == "bash":
        code = block.code
        if short:
            for start, further in SHORTER.items():
                line = rf"^({start} [^#\n]*[^#\n ])( *(?:#.*)?)$"
                code = re.sub(line, rf"\1 {further}\2", code, flags=re.MULTILINE)
        return ["bash", "-euo", "pipefail", "-c", code]
    if block.language == "python":
        return [sys.executable, "-W", "error", "-c", block.code]
    first = re.match(r"# (\S+\.toml)\n", block.code)
    if first is None:
        sys.exit(f"{block.place}: a toml block begins with its file's name, such as # run.toml")
    (folder / first[1]).write_text(block.code)
    return [sys.executable, "-c", READ, first[1]]


def main(paths: list[str], *, short: bool) -> None:
    """Run every block; end with 1 at the first that fails."""
    if short:
        print(*(f"{start} {further}" for start, further in SHORTER.items()), sep="\n", flush=True)
    found = [block for path in paths for block in blocks(Path(path))]
    # Nothing of the checkout is to be found but through the installation.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MAKEFLAGS")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        for block in found:
            if block.word == "not run here":
                print(f"{block.place}: not run here: {block.reason}", flush=True)
                continue
            start = time.perf_counter()
            done = subprocess.run(
                command(block, Path(name), short=short),
                cwd=name,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
            took_s = time.perf_counter() - start
            print(f"{block.place}: {block.language}, {took_s:.1f} s", flush=True)
            if done.returncode == 1 and block.word == "may end with 1":
                print(f"{block.place}: ended with 1: {block.reason}", flush=True)
            elif done.returncode:
                sys.exit(f"{block.place}: ended with {done.returncode}")
    if all(block.word == "not run here" for block in found):
        sys.exit(f"no block to run in {' '.join(paths)}")


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if word != "--short"], short="--short" in sys.argv)
