"""What the command line says when all is well, and when it is stopped.

Network and images are small, so that the command runs whole and nothing of it is replaced.
"""

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gensynth import __version__
from gensynth.cli.exit_codes import uninterrupted
from gensynth.config_file import read
from tests.places import ROOT
from tests.runs import toybox
from tests.runs.toybox import READING, Command

SMALLEST_COMMAND = (
    "import sys, typer; sys.argv = ['small', '--help']; app = typer.Typer(rich_markup_mode=None)\n"
    "@app.command()\ndef small(number: int = 1) -> None: 'Print it.'\n"
    "app(prog_name='small')"
)
"""The least that a command line by typer can be."""


def test_help_is_quick_and_imports_neither_torch_nor_rich() -> None:
    code = (
        "import sys; from gensynth.cli.app import app; sys.argv = ['gensynth', '--help']\n"
        "try: app(prog_name='gensynth')\n"
        "finally: print(sorted({'torch', 'rich', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    # Processor time, since a machine that is busy with other things is not the command's doing.
    ours: list[float] = []
    least: list[float] = []
    for _ in range(3):
        for program, taken in ((code, ours), (SMALLEST_COMMAND, least)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = toybox.python("-c", program, cwd=ROOT)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    done = toybox.python("-c", code, cwd=ROOT)
    assert done.stdout.endswith("\n[]\n")
    assert all(name in done.stdout for name in ("synth", "generate", "show"))
    assert min(ours) < 3 * min(least)


def test_a_piped_run_is_a_table_on_stdout_and_plain_lines_on_stderr(
    finished: tuple[Path, str, str],
) -> None:
    run, out, err = finished
    assert "\x1b" not in out + err
    assert "\r" not in out + err
    assert max(map(len, err.splitlines())) <= 80
    lines = err.splitlines()
    assert lines[0] + "\n" == READING
    rows = [line for line in lines if line.split()[:1] in (["1/3"], ["2/3"], ["3/3"])]
    assert len(rows) == 3
    assert {row.split()[-1] for row in rows} <= {"satisfied", "violated", "unknown"}
    table = out[: out.index("\n\n")].splitlines()
    assert table[0].split() == ["toy:Net", "FermiNet-A", "FermiNet-B", "FermiNet-C"]
    assert max(map(len, table)) <= 80
    assert f"gensynth generate {run} --seeds 0:50\n" in out


def test_show_prints_the_table_again_and_its_figures_for_programs(
    gensynth: Command, finished: tuple[Path, str, str]
) -> None:
    run, out, _ = finished
    assert gensynth("show", str(run)) == (0, out, "")
    card = json.loads((run / "finalists/FermiNet-A/card.json").read_text())
    code, text, err = gensynth("show", str(run), "--json")
    assert (code, err) == (0, "")
    first = json.loads(text)["finalists"][0]
    assert (first["name"], first["costs"]["macs"]) == ("FermiNet-A", card["costs"]["macs"])
    assert first["certificate"]["point_pct"] == card["certificate"]["point_pct"]
    code, text, err = gensynth("show", str(run), "--csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == out.splitlines()[0].split()
    assert rows[1]["top1_pct"] == str(card["certificate"]["point_pct"])
    assert rows[1]["macs <= 12k"] == "satisfied"
    refusal = "error: --json and --csv exclude each other; leave one of them out\n"
    assert gensynth("show", str(run), "--json", "--csv") == (2, "", refusal)


def test_resuming_a_finished_run_prints_its_table_and_trains_nothing(
    gensynth: Command, finished: tuple[Path, str, str]
) -> None:
    run, out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "lock"}
    assert gensynth("synth", "--resume", str(run)) == (0, out, "")
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.name != "lock"} == before


def test_generate_draws_a_network_a_seed(
    gensynth: Command, finished: tuple[Path, str, str]
) -> None:
    run, _, _ = finished
    code, out, err = gensynth("generate", str(run), "--seeds", "0:4")
    assert (code, err) == (0, "drawing networks\nnetworks: seed 3\n")
    assert gensynth("generate", str(run), "--seeds", "0:4", "-q") == (0, out, "")
    lines = out.splitlines()
    assert lines[0].split() == ["seed", "predicted", "MACs", "params", "require"]
    assert [line.split()[0] for line in lines[1:5]] == ["0", "1", "2", "3"]
    assert lines[-1] == f"networks are in {run}/generated/SEED"
    files = sorted((run / "generated").glob("*/graph.json"))
    content = [file.read_bytes() for file in files]
    assert len(files) == 4
    assert gensynth("generate", str(run), "--seeds", "0:4")[1] == out
    assert [file.read_bytes() for file in files] == content


def test_plan_says_what_can_be_reached_and_trains_nothing(gensynth: Command, here: Path) -> None:
    before = toybox.tree(here)
    code, out, err = gensynth("synth", "toy.toml", "--plan")
    assert (code, err) == (0, READING)
    # By hand: conv1 8x1x3x3, conv2 16x8x3x3 at 4x4, fc 256x4: 72*64 + 1152*16 + 1024 MACs;
    # two channels in each group are the least: 18*64 + 36*16 + 128.
    assert [line.split() for line in out.splitlines() if line.startswith("MACs")] == [
        ["MACs", "1.86", "k", "<=", "12.0", "k", "24.1", "k"]
    ]
    assert "frozen: 0.0 % of the prototype's MACs, in fixed parts\n" in out
    assert toybox.tree(here) == before


def test_a_run_whose_networks_all_violate_a_requirement_is_exit_code_1(
    gensynth: Command, here: Path
) -> None:
    code, out, _ = gensynth(
        "synth", "toy.toml", "--cycles", "1", "--finalists", "1", "--epochs", "1", "--out", "run",
        "--require", "macs <= 12k", "--require", "netscore >= 1000",
    )  # fmt: skip
    assert code == 1
    assert "\nevery network violates a requirement\n" in out
    assert gensynth("synth", "--resume", "run") == (1, out, "")
    assert gensynth("show", "run") == (0, out, "")


@pytest.mark.parametrize(
    ("requirements", "code", "line"),
    [
        (("macs <= 12k",), 0, None),
        (("macs <= 12k", "top1 >= 100%"), 1, "every network violates a requirement"),
        (("macs <= 12k", "latency_ms@local <= 1"), 0, "no network is predicted to meet every"),
    ],
)
def test_networks_that_all_violate_a_requirement_are_exit_code_1(
    gensynth: Command, finished: tuple[Path, str, str], here: Path, requirements: tuple[str, ...],
    code: int, line: str | None,
) -> None:  # fmt: skip
    run = Path(shutil.copytree(finished[0], here / "run"))
    text = (run / "run.toml").read_text()
    asked = "requirements = " + json.dumps(requirements)
    rest = text[text.index("utility = ") :]
    (run / "run.toml").write_text(f"{asked}\n{rest}")
    found, out, err = gensynth("generate", "run", "--seeds", "0:3")
    assert (found, err) == (code, "drawing networks\nnetworks: seed 2\n")
    assert (line in out) if line else ("violate" not in out)


def test_any_key_of_a_run_file_can_be_set_and_a_device_comes_from_the_environment(
    gensynth: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = gensynth(
        "synth", "toy.toml", "--plan", "--json", "--set", "search.round_to=4",
        "--set", "device.local.batch=2", "--require", "macs <= 50%",
    )  # fmt: skip
    document = json.loads(out)
    assert (code, document["step"]["channels"]) == (0, 4)
    assert document["requirements"] == ["macs <= 50% (12,032)"]
    assert "latency_ms@local" in document["figures"]
    monkeypatch.setenv("GENSYNTH_DEVICE", "tx3")
    code, _, err = gensynth("synth", "toy.toml", "--plan")
    assert (code, err.partition(", got")[0]) == (
        2, "error: no device and no kind of board is named 'tx3'",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ((), '"macs <= 50%", "top1 >= prototype - 1"'),
        (("task.kind=detection",), '"macs <= 50%", "ap50 >= prototype - 1"'),
        (("task.kind=segmentation",), '"macs <= 50%", "pixel_accuracy >= prototype - 1"'),
        (("task.kind=segmentation", "task.metric=miou"), '"macs <= 50%", "miou >= prototype - 1"'),
        (("task.kind=toy:Mine",), '"macs <= 50%"'),
    ],
)
def test_init_asks_for_what_its_task_measures(
    gensynth: Command, here: Path, settings: tuple[str, ...], asked: str
) -> None:
    words = [word for text in settings for word in ("--set", text)]
    assert gensynth("init", *words, "-o", "mine.toml")[0] == 0
    told = " ".join((here / "mine.toml").read_text().split())
    assert f"requirements = [{asked}]" in told.replace("[ ", "[").replace(", ]", "]")


def test_init_writes_a_run_file_with_every_key_that_synth_takes(
    gensynth: Command, here: Path
) -> None:
    code, out, err = gensynth(
        "init", "--prototype", "toy:Net", "--weights", "toy.safetensors", "--data", "toy:data",
        "--set", "search.cycles=3", "-o", "mine.toml",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out == "mine.toml: look it over, then: gensynth synth mine.toml --plan\n"
    text = (here / "mine.toml").read_text()
    asked = {
        "requirements": ["macs <= 50%", "top1 >= prototype - 1"],
        "prototype.network": "toy:Net", "prototype.weights": "toy.safetensors",
        "data.source": "toy:data", "search.cycles": 3,
    }  # fmt: skip
    assert read(here / "mine.toml") == read(None, asked)
    # Every default that is commented out is the default, and can be set as it stands there.
    whole = re.sub(r"(?m)^# (?=[a-z_]+ = (?!\.\.\.))", "", text)
    (here / "whole.toml").write_text(whole)
    assert read(here / "whole.toml") == read(None, asked)
    assert gensynth("init", "-o", "mine.toml")[0] == 2
    # In another folder its paths mean the same.
    (here / "images").mkdir()
    (here / "kept").mkdir()
    words = ("--prototype", "toy:Net", "--weights", "toy.safetensors", "--data", "images")
    assert gensynth("init", *words, "-o", "kept/mine.toml")[0] == 0
    kept = read(here / "kept" / "mine.toml")
    assert kept.prototype.weights is not None
    assert kept.prototype.weights.resolve() == here.resolve() / "toy.safetensors"
    assert Path(kept.data.source).resolve() == here.resolve() / "images"


def test_the_version_is_the_packages(gensynth: Command) -> None:
    assert gensynth("--version") == (0, f"gensynth {__version__}\n", "")


def test_an_unknown_option_names_the_nearest(gensynth: Command) -> None:
    code, out, err = gensynth("synth", "--cycle", "3")
    assert (code, out) == (2, "")
    assert err == (
        "error: no such option: --cycle (Possible options: --cycles); see: gensynth synth -h\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_its_exit_code_and_the_way_on(
    toys: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "gensynth", "synth", "toy.toml", "--out", str(run)]
    with subprocess.Popen(
        [*command, "--cycles", "400"],
        cwd=toys, env=toybox.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell that starts the tests in the background hands on an ignored SIGINT.
        preexec_fn=lambda: [
            signal.signal(signal.SIGINT, signal.default_int_handler),
            signal.signal(signal.SIGHUP, signal.SIG_DFL),
        ],
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.split()[:1] == ["2"]:
                break
        process.send_signal(number)
        rest = process.stderr.read().splitlines()
        assert process.stdout.read() == ""
    assert process.returncode == 128 + number
    cycles = int((run / "journal.jsonl").read_text().splitlines()[-1].split(",")[0][10:])
    assert rest[-1] == (f"stopped after cycle {cycles}; go on with: gensynth synth --resume {run}")
    assert cycles >= 2
    assert "Traceback" not in "".join(rest)


PRESS = """
import os, runpy, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)
first = sys.argv.pop()


class Press:
    def find_spec(self, name, path=None, target=None):
        if name == first:
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, Press())
"""


@pytest.mark.parametrize("module", ["gensynth.cli.app", "typer", "pathlib", "typing"])
def test_ctrl_c_within_the_first_imports_leaves_no_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / "press.py").write_text(PRESS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    home, _, function = project["scripts"]["gensynth"].partition(":")
    for start in (
        "runpy.run_module('gensynth', run_name='__main__', alter_sys=True)",
        f"from {home} import {function}; sys.exit({function}())",
    ):
        code = f"import sys; sys.path += {[str(tmp_path), *sys.path[1:]]}; from press import *"
        done = toybox.python("-S", "-c", f"{code}\n{start}", "synth", "--plan", module, cwd=ROOT)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", ""), start


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handler: a shell that runs tests in the background has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_within_an_import_waits_for_its_end() -> None:
    steps = []

    def press() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("after the signal")

    with pytest.raises(KeyboardInterrupt):
        press()
    assert steps == ["after the signal"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_ctrl_c_is_ignored_it_stays_ignored() -> None:
    code = (
        "import os, signal; from gensynth.cli.exit_codes import uninterrupted\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with uninterrupted(): os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = toybox.python("-c", code, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
