"""Bad input gets a clear error, exit code 2, and nothing is written half.

Every message is compared whole, so that it stays one that a person can act on.
"""

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from gensynth.links import LINKED
from gensynth.runs.folder import FORMAT
from tests.places import ROOT
from tests.runs import toybox
from tests.runs.toybox import READING, Command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "fashion-minst"],
            ("unknown data set 'fashion-minst'; did you mean 'fashion-mnist'?; your own is a "
            "folder of images by class or module:factory"),
        ),
        (["--data", "./pictures"], ("no folder {here}/pictures; it must hold one folder of images "
         "a class")),
        (
            ["--prototype", "resnet9"],
            ("unknown prototype 'resnet9'; did you mean 'resnet8'?; name your own as "
            "module:factory"),
        ),
        (
            ["--prototype", "toy:net"],
            "prototype 'toy:net': toy has no 'net'; did you mean 'Net'?",
        ),
        (
            ["--require", "mac <= 4M"],
            "unknown metric 'mac' in \"mac <= 4M\"; did you mean 'macs'?",
        ),
        (
            ["--require", "top1 > "],
            ('requirement "top1 >" cannot be read; write for example \'top1 >= 89%\', '
            "'macs <= 20M' or 'latency_ms@local <= 5'"),
        ),
        (
            ["--require", "top1 >= 90%", "--require", "top1 < 80%"],
            ('"top1 >= 90%" and "top1 < 80%" contradict each other: no top1 fulfils both; '
            "drop one of them"),
        ),
        (
            ["--utility", "netscore - flops"],
            ("unknown name 'flops' in utility \"netscore - flops\"; known are latency_ms, macs, "
            "params, top1, params_m, macs_g, netscore, information_density, log10, log, sqrt, "
            "min, max"),
        ),
        (
            ["--utility", "netscore - latency_ms"],
            ('utility "netscore - latency_ms" reads latency_ms, which is measured on finalists '
            "only; the search weighs macs, params, top1; limit latency_ms by a requirement "
            "instead"),
        ),
        (
            ["--require", "macs <= 100"],
            ("no network of this prototype has macs <= 100: the smallest has 1,856 and the "
            "prototype 24,064; relax the requirement"),
        ),
        (
            ["--prototype", "toy:colour"],
            ("{here}/toy.safetensors does not fit prototype 'toy:colour': it has conv1.weight as "
            "(8, 1, 3, 3), not (8, 3, 3, 3)"),
        ),
        (
            ["--data", "toy:mislabelled"],
            "labels of toy must lie in 0..2, got 0..3 in train",
        ),
        (
            ["--weights", "absent.safetensors"],
            "no weights file {here}/absent.safetensors for prototype 'toy:Net'",
        ),
        (
            ["--data", "fashion-mnist", "--data-folder", "."],
            ("folder says where cifar10 lies, got it with source 'fashion-mnist'; a folder of "
            "images by class is itself the source"),
        ),
        (
            ["--out", "."],
            ("{here} is not empty; go on with a run that is there by --resume, or name another "
            "folder"),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_an_option_says_wrong_is_said_before_any_training(
    gensynth: Command, here: Path, arguments: list[str], message: str
) -> None:
    before = toybox.tree(here)
    code, out, err = gensynth("synth", "toy.toml", *arguments)
    assert (code, out) == (2, "")
    assert err.removeprefix(READING) == f"error: {message.format(here=here)}\n"
    assert toybox.tree(here) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cycles = 3", "cylces = 3", "unknown key 'cylces' in [search]; did you mean 'cycles'?"),
        ("cycles = 3", "seed = 3", ("unknown key 'seed' in [search]; it belongs above the first "
         "table")),
        ("cycles = 3", 'cycles = "3"', 'cycles in [search] must be a whole number, got "3"'),
        ("cycles = 3", "cycles = 0", "cycles in [search] must be greater than 0, got 0"),
        ("[latency]", "[latencies]", "unknown table [latencies]; did you mean '[latency]'?"),
        ("cycles = 3", "cycles = ", "Invalid value (at line 12, column 10)"),
        ("top1 >= 60%", "top-1 >= 60%", ("requirement \"top-1 >= 60%\" cannot be read; write for "
         "example 'top1 >= 89%', 'macs <= 20M' or 'latency_ms@local <= 5'")),
        ("macs <= 12k", "macs <= 1k", ("no network of this prototype has macs <= 1,000: the "
         "smallest has 1,856 and the prototype 24,064; relax the requirement")),
        ("toy:data", "fashion", ("unknown data set 'fashion'; did you mean 'fashion-mnist'?; "
         "your own is a folder of images by class or module:factory")),
        ("toy:Net", "toys:Net", ("prototype 'toys:Net': no module 'toys' in {here} or among what "
         "is installed; did you mean 'toy'?")),
    ],
)  # fmt: skip
def test_what_a_run_file_says_wrong_is_said_with_its_name(
    gensynth: Command, here: Path, old: str, new: str, message: str
) -> None:
    (here / "toy.toml").write_text(toybox.RUN.replace(old, new))
    before = toybox.tree(here)
    code, out, err = gensynth("synth", "toy.toml")
    assert (code, out) == (2, "")
    assert err.removeprefix(READING) == f"error: toy.toml: {message.format(here=here)}\n"
    assert toybox.tree(here) == before


def test_every_fault_of_a_run_file_has_its_line(gensynth: Command, here: Path) -> None:
    (here / "two.toml").write_text("sede = 1\n[search]\ncycles = -1\n")
    assert gensynth("synth", "two.toml", "--epochs", "0") == (
        2,
        "",
        (
            "error: two.toml: cycles in [search] must be greater than 0, got -1\n"
            "error: epochs in [finalists] must be greater than 0, got 0.0\n"
            "error: two.toml: unknown key 'sede'; did you mean 'seed'?\n"
        ),
    )


def test_an_absent_run_file_is_named(gensynth: Command) -> None:
    assert gensynth("synth", "absent.toml") == (
        2, "", "error: absent.toml cannot be read: No such file or directory\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prototype", "message"),
    [
        (
            "large",
            (
                "{here}/toy.py:{fc}: the example does not fit the network at 'fc', which reads "
                "[(2, 256)] (batch first): "
            ),  # and what torch says
        ),
        (
            "ten",
            (
                "prototype 'toy:ten' must give one logit for each of 4 classes, got outputs of "
                "shape (10,)\n"
            ),
        ),
        (
            "Undecided",
            (
                "{here}/toy.py:{decision}: what this line does depends on the values of the input, "
                "so there is no one graph to read; move the decision out of forward\n"
            ),
        ),
    ],
)
def test_a_prototype_that_does_not_fit_is_refused(
    gensynth: Command, here: Path, prototype: str, message: str
) -> None:
    lines = toybox.MODULE.splitlines()
    fc = lines.index("        return self.fc(torch.flatten(x, 1))") + 1
    decision = lines.index("        if x.sum() > 0:") + 1
    toybox.save_weights(getattr(toybox.toy_module(here), prototype)(), here / "own.safetensors")
    before = toybox.tree(here)
    code, out, err = gensynth(
        "synth", "toy.toml", "--prototype", f"toy:{prototype}", "--weights", "own.safetensors"
    )
    assert (code, out) == (2, "")
    assert err.startswith(f"{READING}error: {message.format(here=here, fc=fc, decision=decision)}")
    assert len(err.splitlines()) == 2
    assert toybox.tree(here) == before


class Malicious:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("the-code-has-run",)


@pytest.mark.parametrize("write", [pickle.dumps, "torch", "truncated", "empty"])
def test_weights_that_are_no_safetensors_file_are_refused_and_not_run(
    gensynth: Command, here: Path, write: object
) -> None:
    file = here / "weights.pt"
    if write == "torch":
        torch.save({"conv1.weight": Malicious()}, file)
    elif write == "truncated":
        file.write_bytes((here / "toy.safetensors").read_bytes()[:-100])
    else:
        file.write_bytes(b"" if write == "empty" else pickle.dumps(Malicious()))
    code, out, err = gensynth("synth", "toy.toml", "--weights", "weights.pt")
    assert (code, out) == (2, "")
    start, _, rest = err.partition(" (")
    assert start == f"{READING}error: {file} is not a safetensors file"
    assert rest.partition("); ")[2] == (
        "a pickled checkpoint could run code when read, so it is refused: save its state dict "
        "with safetensors.torch.save_file\n"
    )
    assert not (here / "the-code-has-run").exists()


def test_without_weights_the_two_ways_to_them_are_named(gensynth: Command, here: Path) -> None:
    before = toybox.tree(here)
    assert gensynth("synth", "--data", "toy:data", "--prototype", "toy:Net") == (
        2,
        "",
        (
            f"{READING}error: no trained weights of 'toy:Net' for toy ship with gensynth; name a "
            "safetensors file by --weights, or train it first by --train-prototype\n"
        ),
    )
    assert toybox.tree(here) == before


def test_a_cost_that_cannot_be_reached_is_said_before_the_prototype_is_trained(
    gensynth: Command, here: Path
) -> None:
    (here / "steps.toml").write_text("[search]\nalign = 2\n")
    before = toybox.tree(here)
    code, _, err = gensynth(
        "synth", "steps.toml", "--data", "toy:data", "--prototype", "toy:Net", "--train-prototype",
        "--require", "params <= 0.1k",
    )  # fmt: skip
    assert code == 2
    assert err == (
        f"{READING}error: no network of this prototype has params <= 100: the smallest has 194 "
        "and the prototype 2,300; relax the requirement\n"
    )
    assert toybox.tree(here) == before


# --- damaged data ---------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_files_of_cifar10_that_are_not_the_official_ones_are_refused(
    gensynth: Command, here: Path, damage: str
) -> None:
    batch = here / "cifar" / "data_batch_1.bin"
    batch.parent.mkdir()
    size = 30_730_000 if damage == "changed" else 1_000_000
    with batch.open("wb") as file:
        file.truncate(size)
    code, out, err = gensynth("synth", "--data", "cifar10", "--data-folder", "cifar")
    assert (code, out) == (2, "")
    assert err == (
        f"{READING}error: {batch} is not the official file: its MD5 must be "
        f"5dd7e06a14cb22eb9f671a540d1b7c25, and it has {size} bytes of 30730000; fetch it "
        "again\n"
    )


def test_a_truncated_picture_is_named(gensynth: Command, here: Path) -> None:
    for name in ("cat", "dog"):
        (here / "pets" / name).mkdir(parents=True)
        for number in range(4):
            Image.effect_noise((8, 8), 50).save(here / "pets" / name / f"{number}.png")
    broken = Path("pets") / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    code, out, err = gensynth("synth", "--data", "pets")
    assert (code, out) == (2, "")
    start, _, rest = err.partition(" is not a whole image: ")
    assert start == f"{READING}error: {broken}"
    assert rest.endswith("; remove or replace it\n")


# --- run folders ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["synth", "--resume"], ["show"], ["generate"]])
def test_a_folder_that_is_no_run_or_of_another_version_is_refused(
    gensynth: Command, here: Path, command: list[str]
) -> None:
    more = ["--seeds", "0:2"] if command == ["generate"] else []
    assert gensynth(*command, "run", *more) == (2, "", "error: the run folder run is absent\n")
    run = here / "run"
    run.mkdir()
    assert gensynth(*command, "run", *more) == (
        2, "", "error: the run folder run is not a run folder: it has no FORMAT file\n"
    )  # fmt: skip
    (run / "FORMAT").write_text("gensynth run 7\n")
    (run / "environment.json").write_text("{}")
    before = toybox.tree(run)
    assert gensynth(*command, "run", *more) == (
        2,
        "",
        (
            "error: run has the format 'gensynth run 7', this version of gensynth reads "
            f"'{FORMAT}'; open it with the version that its environment.json names\n"
        ),
    )
    assert toybox.tree(run) == before


@pytest.mark.parametrize("command", [["synth", "--resume"], ["generate"]])
def test_a_run_that_another_process_works_on_is_refused(
    gensynth: Command, here: Path, finished: tuple[Path, str, str], command: list[str]
) -> None:
    run, _, _ = finished
    more = ["--seeds", "0:2"] if command == ["generate"] else []
    hold = f"import fcntl, sys; f = open(r'{run}/lock', 'r+'); fcntl.flock(f, fcntl.LOCK_EX); "
    hold += (
        "f.truncate(); print(__import__('os').getpid(), file=f, flush=True); print(flush=True); "
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold + "sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        before = toybox.tree(run)
        code, out, err = gensynth(*command, str(run), *more)
        assert (code, out, err) == (2, "", f"error: {run} is in use by process {holder.pid}\n")
        assert toybox.tree(run) == before
        holder.communicate("")


def test_resume_takes_nothing_beside_it(gensynth: Command, here: Path) -> None:
    message = (
        "error: --resume goes on with a run as it was begun, from the run file in its folder; "
        "give nothing else beside it\n"
    )
    assert gensynth("synth", "--resume", "run", "--cycles", "9") == (2, "", message)
    assert gensynth("synth", "toy.toml", "--resume", "run") == (2, "", message)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("0-5", "seeds must be FIRST:BEYOND such as 0:50, or numbers such as 3,7,12, got '0-5'"),
        ("5:5", "seeds must name 1 to 10,000 of them, got 0 in '5:5'"),
        ("0:10001", "seeds must name 1 to 10,000 of them, got 10,001 in '0:10001'"),
        ("3,3", "each seed may be named once, got '3,3'"),
    ],
)
def test_seeds_that_cannot_be_meant(gensynth: Command, seeds: str, message: str) -> None:
    assert gensynth("generate", "run", "--seeds", seeds) == (2, "", f"error: {message}\n")


# --- the world ------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_last_good_state_and_a_way_on(gensynth: Command, here: Path) -> None:
    # No file may grow beyond the limit: the weights fit, a journal of some cycles does not.
    run = here / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--cycles", "14", "--out", str(run),
        cwd=here, limit_bytes=(here / "toy.safetensors").stat().st_size + 300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    states = sorted(int(path.name) for path in (run / "state").iterdir())
    *_, last = done.stderr.splitlines()
    assert re.fullmatch(
        rf"error: {re.escape(str(run))}/\S+ could not be written, the disk is full; the last "
        rf"good state is cycle {states[-1]}: make room and go on with: gensynth synth --resume "
        rf"{re.escape(str(run))}",
        last,
    )
    assert 0 < states[-1] < 14
    journal = (run / "journal.jsonl").read_bytes().splitlines()
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]
    code, _, err = gensynth("synth", "--resume", str(run))
    assert code == 0, err
    later = (run / "journal.jsonl").read_bytes().splitlines()
    assert len(later) == 1 + 14  # and the first state, before any cycle
    assert later[: len(journal)] == journal
    assert len(journal) >= 2


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_state_before_it(
    toys: Path, tmp_path: Path
) -> None:
    # The checkpoint holds weights and momentum; of the whole prototype, about 18 kB.
    run = tmp_path / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--out", str(run), "--utility", "top1",
        "--require", "macs <= 24k", cwd=toys, limit_bytes=12_600,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: the checkpoint {run}/checkpoints/cycle-1.safetensors could not be written, the "
        "disk is full; what was kept before it is whole: make room and go on with --resume"
    )
    assert not list(run.rglob(".*"))
    assert [path.name for path in (run / "state").iterdir()] == ["0000"]


def test_a_full_disk_at_the_start_leaves_nothing(toys: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = toybox.python(
        "-m", "gensynth", "synth", "toy.toml", "--out", str(out), cwd=toys, limit_bytes=100
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{READING}error: the run folder {out} cannot be made: the disk is full\n"
    assert toybox.tree(tmp_path) == []


def test_a_checkout_without_its_links_says_how_to_mend_them(toys: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "gensynth", tmp_path / "gensynth",
        ignore=lambda _, names: {"export", "bench", "devices"} & set(names),
    )  # fmt: skip
    for file in ("toy.py", "toy.toml", "toy.safetensors"):
        shutil.copy(toys / file, tmp_path)
    before = toybox.tree(tmp_path)
    # -S: an editable installation would find the checkout's own links.
    run = (
        f"import sys; sys.path += {sys.path[1:]!r}; from gensynth.cli.app import main; "
        "sys.argv = ['gensynth', 'synth', 'toy.toml']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", run], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    name = done.stderr.partition(" must be ")[0].rpartition("/")[2]
    assert name in LINKED
    link = tmp_path / "gensynth" / name
    assert done.stderr == (
        f"error: {link} must be a link to ../{name}, got nothing; in a checkout run: ln -sfn "
        f"../{name} {link} (or clone again with: git clone -c core.symlinks=true), then install "
        "again if gensynth was installed from it\n"
    )
    assert toybox.tree(tmp_path) == before
