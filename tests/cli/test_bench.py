"""`gensynth bench` as a person types it: whole outputs, exit codes, and no traceback."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from gensynth.bench import grades
from gensynth.bench.grades import Grade, Warmup
from gensynth.cli.app import app
from gensynth.devices import registry
from tests.onnx_files.written import convolution, unary

SHORT = Grade("quick", Warmup(0.0, 0.02, 100.0, 20.0), rounds=8, round_s=0.02, energy=None)

LABELS = (
    "latency p50, ms", "latency p90, ms", "latency p99, ms", "timed runs n", "latency mean, ms",
    "95 % interval", "images per second", "times the first's latency", "parameters", "MACs",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("agent_home")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "folder", lambda: tmp_path / "config")
    monkeypatch.setitem(grades._BY_NAME, "quick", SHORT)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, words)], catch_exceptions=False)


def test_two_networks_are_a_table_of_at_most_eighty_columns(tmp_path: Path) -> None:
    files = [convolution(tmp_path / f"{name}.onnx", width=w) for name, w in (("a", 4), ("b", 64))]
    done = bench(*files)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["a", "b"]
    labels = [line[:26].strip() for line in lines[1:] if line and line[26:27] != ""]
    assert set(LABELS) <= set(labels)
    assert "device local, onnxruntime" in done.stdout
    assert "grade quick: 8 rounds in turns after warm-up" in done.stdout
    assert done.stderr.splitlines()[0] == "reaching the device"


def test_json_is_one_record_a_line_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    done = bench(file, "--json")
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert (done.exit_code, record["schema"]) == (0, "gensynth.bench/1")
    assert record["from_store"] is False
    assert json.loads(bench(file, "--json").stdout)["from_store"] is True
    assert json.loads(bench(file, "--json", "--fresh").stdout)["from_store"] is False


def test_an_answer_from_the_store_says_when_it_was_measured(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    first, again = bench(file), bench(file)
    last = again.stdout.splitlines()[-1]
    assert last.startswith("answered from the store: measured 20")
    assert last.endswith(" UTC; --fresh measures again")
    assert again.stdout.splitlines()[:-1] == first.stdout.splitlines()
    assert again.stderr == ""


def test_a_device_that_is_not_registered_comes_with_the_command_that_adds_it(
    tmp_path: Path,
) -> None:
    done = bench(convolution(tmp_path / "net.onnx"), "--device", "tx2")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no device named 'tx2'; add it with: gensynth devices add tx2 USER@HOST\n"
    )


REFUSED = {
    "absent.onnx": "there is no absent.onnx",
    "notes.onnx": "notes.onnx is damaged or no ONNX file",
    "net.onnx --grade fast": "unknown grade 'fast'; known are loop, quick, standard, report",
    "net.onnx --precision fp61": "unknown precision 'fp61'; did you mean 'fp16'?",
    "net.onnx --power-modes 0": "this machine's processor has no power modes to set, got 0",
    "net.onnx --energy --grade quick": "grade quick takes no energy, whose windows are too long "
    "for it; use --grade standard",
    "net.onnx --shape images=3": "net: input 'images' takes ?,3,16,16, got 3",
    "free.onnx": "free leaves sizes of input 'x' free; say them: --shape x=1,?",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_meant_is_one_line_and_exit_code_two(tmp_path: Path, words: str) -> None:
    convolution(tmp_path / "net.onnx")
    unary(tmp_path / "free.onnx", "Relu", ["N", "K"])
    (tmp_path / "notes.onnx").write_text("not a network")
    done = bench(*words.split())
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {REFUSED[words]}\n")


@pytest.mark.slow
def test_a_network_that_computes_no_number_is_an_error_and_no_table(tmp_path: Path) -> None:
    done = bench(unary(tmp_path / "net.onnx", "Log", ["N", 64]))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(
        "error: local: the outputs of net must be finite, got NaN"
    )


def test_why_no_runtime_can_do_it_is_told_of_each(tmp_path: Path) -> None:
    done = bench(convolution(tmp_path / "net.onnx"), "--precision", "int8")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "error: local: none of its runtimes can measure that\n"
        "  onnxruntime: onnxruntime computes in the file's own precision, and net is in fp32, not "
        "int8; export it so\n"
    )


def test_a_simulated_device_says_so_first_and_last_and_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path / "root"))
    done = bench(convolution(tmp_path / "net.onnx"))
    lines = done.stdout.splitlines()
    assert done.exit_code == 1
    assert (
        lines[0]
        == lines[-1]
        == ("SIMULATED: made by a model of a device; nothing here was measured")
    )


def test_a_warm_up_that_never_settles_is_told_and_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No two blocks of a real machine agree to the nanosecond.
    warmup = Warmup(0.0, 0.01, 0.0, 0.1)
    monkeypatch.setitem(grades._BY_NAME, "quick", Grade("quick", warmup, 4, 0.02, None))
    done = bench(convolution(tmp_path / "net.onnx"))
    assert done.exit_code == 1
    assert "NOT STEADY: the warm-up never settled" in done.stdout


@pytest.mark.parametrize(("why_not", "code"), [(None, 0), ("cannot write the store", 1)])
def test_a_record_that_could_not_be_kept_is_printed_and_no_success(
    monkeypatch: pytest.MonkeyPatch, why_not: str | None, code: int
) -> None:
    record: dict[str, object] = {
        "status": "ok",
        "flags": [],
        "not_kept": why_not,
        "provenance": "measured",
    }
    monkeypatch.setattr("gensynth.bench.session.measure", lambda *_, **__: record)
    done = bench("net.onnx", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (code, record)


@pytest.mark.slow
def test_what_a_file_leaves_free_can_be_given(tmp_path: Path) -> None:
    file = unary(tmp_path / "free.onnx", "Relu", ["N", "K"])
    assert bench(file, "--shape", "x=2,64").exit_code == 0
    np.save(tmp_path / "x.npy", np.ones((4, 8), np.float32))
    record = json.loads(bench(file, "--input", "x=x.npy", "--json").stdout)
    assert record["networks"][0]["inputs"]["are"] == "given: x"
    assert record["request"]["batch"] == 4


def test_the_help_names_every_option() -> None:
    text = bench("--help").stdout
    for option in ("--device", "--grade", "--precision", "--batch", "--energy", "--power-modes",
                   "--end-to-end", "--json", "--fresh", "--shape", "--input"):  # fmt: skip
        assert option in text
    assert os.environ["COLUMNS"] == "80"
    assert max(map(len, text.splitlines())) <= 80
