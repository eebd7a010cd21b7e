"""`gensynth bench --estimate` as a person types it: no device is reached, no number stands bare."""

import json
import re
from pathlib import Path

import onnx
import pytest
from onnx import parser
from typer.testing import CliRunner, Result

from gensynth.cli.app import app
from gensynth.devices import registry
from gensynth.render.estimates import figure
from tests.onnx_files.written import convolution

PART = (
    r"~[\d.,]+ (ms|images/s|mJ/image|images/J|W), 80 %: [\d.,]+ to [\d.,]+, estimate, "
    "0 measurements"
)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "folder", lambda: tmp_path / "config")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, words)], catch_exceptions=False)


def test_every_figure_has_its_interval_and_its_measurements(tmp_path: Path) -> None:
    done = bench(convolution(tmp_path / "net.onnx"), "--device", "jetson-tx2", "--estimate")
    assert done.exit_code == 0
    rows = re.findall(r"^  (?:latency|throughput|energy|images|power) +(.*)$", done.stdout, re.M)
    assert len(rows) == 5
    assert all(re.fullmatch(PART, row.strip()) for row in rows), rows
    table = done.stdout.partition("to measure instead:")[0]  # commands are not broken
    assert max(map(len, table.splitlines())) <= 80


def test_assumptions_and_the_commands_that_measure_stand_below(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    done = bench(file, "--device", "jetson-tx2", "--estimate", "--precision", "fp16")
    below = done.stdout.partition("assumed:")[2].replace("\n", " ")
    assert "GPU 1300.5 MHz" in below
    assert "launch: 0.03 ms at these clocks" in " ".join(below.split())
    assert "gensynth devices add tx2 USER@ADDRESS" in below
    assert f"gensynth bench {file} --device tx2 --precision fp16 --energy" in below


def test_json_is_one_record_a_line_for_each_power_mode(tmp_path: Path) -> None:
    file = convolution(tmp_path / "net.onnx")
    done = bench(
        file, "--device", "jetson-tx2", "--estimate", "--json", "--power-mode", "0,1", "--batch", 1
    )
    fast, slow = map(json.loads, done.stdout.splitlines())
    assert (fast["schema"], fast["provenance"]) == ("gensynth.estimate/1", "estimate")
    assert [record["request"]["power_mode"] for record in (fast, slow)] == [0, 1]
    ms = [record["networks"][0]["figures"]["latency_ms"]["value"] for record in (fast, slow)]
    assert ms[0] < ms[1]


def test_a_registered_device_is_estimated_as_its_kind(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/devices.toml").write_text(
        '[lab]\ndestination = "user@192.0.2.1"\nprofile = "jetson-tx2"\n'
    )
    done = bench(convolution(tmp_path / "net.onnx"), "--device", "lab", "--estimate")
    assert done.exit_code == 0
    assert "ESTIMATES for lab: fp32, batch 1" in done.stdout
    assert "devices add" not in done.stdout


def test_an_unknown_operator_is_named_and_is_no_success(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]>'
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { y = Mish (x) }"
    )
    onnx.save(model, tmp_path / "net.onnx")
    done = bench(tmp_path / "net.onnx", "--device", "jetson-tx2", "--estimate")
    assert done.exit_code == 1
    assert "unknown: nothing is known of Mish" in done.stdout
    assert "~" not in done.stdout


def test_free_sizes_are_said_for_an_estimate_and_for_the_measurement(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]>'
        "g (float[1,4,H,W] x) => (float[1,4,H,W] y) { y = Relu (x) }"
    )
    onnx.save(model, tmp_path / "net.onnx")
    words = (tmp_path / "net.onnx", "--device", "jetson-tx2", "--estimate")
    assert "say them: --shape x=1,4,?,?" in bench(*words).stderr
    done = bench(*words, "--shape", "x=1,4,8,8")
    assert done.exit_code == 0
    assert f"gensynth bench {words[0]} --device tx2 --shape x=1,4,8,8 --energy" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--device agx-orin", "is named 'agx-orin'; did you mean jetson-agx-orin?"),
        ("--device nowhere", "no device and no kind of board is named 'nowhere'; known are jetson"),
        ("--device jetson-tx2 --precision int8", "no INT8 on Jetson TX2"),
        ("--device jetson-tx2 --power-mode 9", "Jetson TX2 has the power modes 0 MAXN"),
        ("--device jetson-tx2 --shape z=1,3,8,8", "no network has an input 'z'"),
        ("--device jetson-tx2 --end-to-end", "--end-to-end is of measurements alone"),
        ("--device jetson-tx2-nx", "no estimate for Jetson TX2 NX: no figures are known"),
        ("--device raspberry-pi-4", "no estimate for Raspberry Pi 4: what its ONNX Runtime"),
    ],
)
def test_what_nothing_is_known_of_is_one_line_and_exit_code_two(
    tmp_path: Path, words: str, message: str
) -> None:
    done = bench(convolution(tmp_path / "net.onnx"), "--estimate", *words.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_figure_in_words() -> None:
    known = {"value": 4.1, "interval80": [3.3, 5.2], "provenance": "estimate", "measurements": 0}
    assert figure(known, "ms") == "~4.10 ms, 80 %: 3.30 to 5.20, estimate, 0 measurements"
    one = {**known, "provenance": "calibrated estimate", "measurements": 1}
    assert figure(one, "s", 1e-3).endswith("0.00330 to 0.00520, calibrated estimate, 1 measurement")
