"""Bad input gets a clear error, exit code 2, and nothing is written half.

Every message is compared whole, so that it stays one that a person can act on.
"""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.runs import toybox
from tests.runs.toybox import READING, Command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "fashion-minst"],
            ("unknown data set 'fashion-minst'; did you mean 'fashion-mnist'?; your own is a "
            "folder of images by class, a CSV of paths and labels, or module:factory"),
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
            "unknown name 'flops' in utility \"netscore - flops\"; did you mean 'macs'?",
        ),
        (
            ["--require", "latency_ms <= 5", "--device", "jetson-tx2-nx"],
            "toy.toml: no estimate for Jetson TX2 NX: no figures are known of its clocks and units",
        ),
        (
            ["--device", "raspberry-pi-4", "--require", "power_w <= 3 W"],
            ("no joules or watts of raspberry-pi-4: the board has no power sensor; ask for its "
            "latency instead"),
        ),
        (
            ["--require", "latency_ms@jetson-tx3 <= 5"],
            ("no device and no kind of board is named 'jetson-tx3', got "
            "\"latency_ms@jetson-tx3\"; did you mean 'jetson-tx2'?; add a device with: gensynth "
            "devices add jetson-tx3 USER@HOST"),
        ),
        (
            ["--require", "macs <= 100"],
            ("no network of this prototype has macs <= 100 in steps of 2 channels: the smallest "
            "has 1,856 and the prototype 24,064; relax the requirement"),
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
            ("folder says where cifar10 or camvid lies, or the images of a table, got it with "
            "source 'fashion-mnist'; a folder of one's own images is itself the source"),
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
        ("macs <= 12k", "macs <= 1k", ("no network of this prototype has macs <= 1,000 in steps of "
         "2 channels: the smallest has 1,856 and the prototype 24,064; relax the requirement")),
        ("toy:data", "fashion", ("unknown data set 'fashion'; did you mean 'fashion-mnist'?; "
         "your own is a folder of images by class, a CSV of paths and labels, or module:factory")),
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
                "shape (10,); it was made by ten(), which takes none of num_classes, "
            ),
        ),
        (
            "Undecided",
            (
                "{here}/toy.py:{decision}: what this line does depends on the values of the input, "
                "so there is no one graph to read; move the decision out of forward; or, where it "
                "decodes what the network answers, name the parts before it: outputs in "
                "[prototype], --output of inspect\n"
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
def test_weights_that_are_no_tensors_alone_are_refused_and_not_run(
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
    if write == "truncated":
        assert err.startswith(f"{READING}error: {file} is not a whole safetensors file (")
    else:
        assert err == (
            f"{READING}error: {file} is neither a safetensors file nor a checkpoint of tensors "
            "alone; a pickled object could run code when read, so it is refused: save the weights "
            "with torch.save(model.state_dict(), FILE) or safetensors.torch.save_file\n"
        )
    assert not (here / "the-code-has-run").exists()


def test_without_weights_the_two_ways_to_them_are_named(gensynth: Command, here: Path) -> None:
    before = toybox.tree(here)
    assert gensynth("synth", "--data", "toy:data", "--prototype", "toy:Net") == (
        2,
        "",
        (
            f"{READING}error: no trained weights of 'toy:Net' for toy ship with gensynth; name a "
            "file of them by --weights, or train it first by --train-prototype\n"
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
        f"{READING}error: no network of this prototype has params <= 100 in steps of 2 channels: "
        "the smallest has 194 and the prototype 2,300; relax the requirement\n"
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
    assert start == f"{READING}error: {here / broken}"
    assert rest.endswith("; remove or replace it\n")
