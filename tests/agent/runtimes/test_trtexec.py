"""`trtexec` from 8.2 to 11 asked for the same quantity, with a program that checks its options."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gensynth.devices.agent.runtimes import trtexec
from gensynth.devices.agent.runtimes.engines import EngineCache
from gensynth.devices.agent.runtimes.onnx_file import Node, OnnxFile
from gensynth.devices.agent.runtimes.trtexec import Trtexec, find_trtexec
from gensynth.devices.agent.runtimes.trtexec_call import LOG_LIMIT, Program, refusal
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import first_not_finite
from tests.fakes.fake_trtexec import OPTIONS
from tests.onnx_files.small import SHAPE, convolution, image, network, products, quotient
from tests.places import FAKES

VERSIONS = tuple(OPTIONS)
FAKE = FAKES / "fake_trtexec.py"


class Installed:
    """A board with one version of the program.

    Attributes:
        calls: file of its calls.
    """

    def __init__(self, root: Path, version: str) -> None:
        self.root = root
        self.calls = root / "calls"
        self.program = root / "usr/src/tensorrt/bin/trtexec"
        self.program.parent.mkdir(parents=True)
        command = shlex.join([sys.executable, "-S", str(FAKE), version])
        self.program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self.program.chmod(0o755)
        self.spool = Spool(str(root / "agent"))

    def open(self, board: str = "tx2/1") -> Trtexec:
        cache = EngineCache(self.spool.engines, self.spool.write)
        return Trtexec(Program(find_trtexec(str(self.root)), self.spool.engines), cache, board)

    def options(self) -> list[dict[str, str]]:
        """The options of each call but that of the help."""
        calls = [json.loads(line) for line in self.calls.read_text().splitlines()]
        return [
            dict(option.partition("=")[::2] for option in call)
            for call in calls
            if call != ["--help"]
        ]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Installed]:
    def install(version: str) -> Installed:
        board = Installed(tmp_path / "board", version)
        monkeypatch.setenv("GENSYNTH_TRTEXEC_CALLS", str(board.calls))
        monkeypatch.delenv("GENSYNTH_TRTEXEC", raising=False)
        return board

    return install


Install = Callable[[str], Installed]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_measures_the_same_quantity(install: Install, version: str) -> None:
    board = install(version)
    runtime = board.open()
    assert runtime.version == version
    loaded = runtime.load(network(board.spool, convolution(), x=image()), "fp32", 64)
    turn = loaded.turn(20)
    # Transfers, no graph, no spinning, nothing hidden, no warm-up: 1 + 3 + 1 ms.
    assert list(turn.total_ns) == [5_000_000] * 20
    assert turn.compute_ns is not None
    assert list(turn.compute_ns) == [3_000_000] * 20
    runtime.close()
    assert list(Path(board.spool.engines).glob(".partial-*")) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_decides_the_quantity_is_said_aloud_and_recorded(
    install: Install, version: str
) -> None:
    board = install(version)
    runtime = board.open()
    runtime.load(network(board.spool, convolution(), x=image()), "fp32", 64).turn(1)
    flags = {
        "8.2.1": ["--avgRuns=1", "--streams=1", "--exposeDMA"],
        "8.6.1": ["--avgRuns=1", "--infStreams=1", "--exposeDMA"],
        "10.3.0": ["--avgRuns=1", "--infStreams=1", "--exposeDMA"],
        "11.0.0": [
            "--avgRuns=1", "--noCudaGraph", "--noSpinWait", "--includeDataTransfers",
            "--infStreams=1", "--exposeDMA",
        ],
    }[version]  # fmt: skip
    assert runtime.details["timing_flags"] == flags
    (build, run) = board.options()
    assert {flag.partition("=")[0] for flag in flags} <= set(run)
    assert build["--workspace" if version == "8.2.1" else "--memPoolSize"].endswith("64")
    assert ("--buildOnly" in build, "--skipInference" in build) == (
        version == "8.2.1",
        version != "8.2.1",
    )
    assert runtime.details["cuda_graph"] is False


@pytest.mark.parametrize(
    ("version", "batch"), [*((version, 1) for version in VERSIONS), ("8.2.1", "n"), ("11.0.0", "n")]
)
def test_the_outputs_are_those_of_the_inputs(
    install: Install, version: str, batch: int | str
) -> None:
    board = install(version)
    content, x = convolution(batch=batch), image((5, 3, 8, 8) if batch == "n" else SHAPE)
    loaded = board.open().load(network(board.spool, content, x=x), "fp32", 64)
    (output,) = loaded.outputs()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]
    actual = np.frombuffer(output.data, np.float32).reshape(output.shape)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)  # six digits are written
    assert (output.name, output.dtype) == ("y", "float32")


def test_a_block_lasts_as_long_as_asked(install: Install) -> None:
    board = install("8.2.1")
    loaded = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 64)
    total_ns = loaded.block(1.5).total_ns  # whole seconds are all that it takes
    assert 2e9 <= sum(total_ns) < 2.01e9
    assert set(total_ns) == {5_000_000}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_built_once_for_a_board(install: Install, version: str) -> None:
    board = install(version)
    first = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 64).engine
    again = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 64).engine
    assert first is not None
    assert again == dict(first, cached=True)
    (plan,) = Path(board.spool.engines).glob("*.plan")
    assert first["bytes"] == plan.stat().st_size
    assert first["build_s"] > 0
    assert "&&&& PASSED" in first["log"]
    board.open("tx2/2").load(network(board.spool, convolution(), x=image()), "fp32", 64)
    assert len(board.options()) == 2


@pytest.mark.parametrize("version", ["8.2.1", "8.6.1", "10.3.0"])
def test_layers_are_told_where_the_program_can_tell_them(install: Install, version: str) -> None:
    board = install(version)
    for cached in (False, True):
        engine = (
            board.open().load(network(board.spool, convolution(), x=image()), "fp16", 64).engine
        )
        assert engine is not None
        assert engine["cached"] is cached
        known = version != "8.2.1"
        layers = [{"name": "stem/conv", "precision": "fp16"}]
        assert engine["layers"] == (layers if known else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_half_precision_is_a_flag_up_to_10(install: Install, version: str) -> None:
    board = install(version)
    if version == "11.0.0":
        with pytest.raises(Fault, match=r"TensorRT 11\.0\.0 takes precision from the file"):
            board.open().load(network(board.spool, convolution(), x=image()), "fp16", 64)
        return
    board.open().load(network(board.spool, convolution(), x=image()), "fp16", 64)
    assert "--fp16" in board.options()[0]


@pytest.mark.parametrize("version", ["8.2.1", "8.6.1", "10.3.0"])
def test_layers_that_must_stay_in_fp32_are_told_or_refused(install: Install, version: str) -> None:
    board = install(version)
    asked = network(board.spool, products(), x=image((1, 4)))
    asked = asked._replace(fp32_layers=("first", "act"))
    if version == "8.2.1":
        with pytest.raises(Fault, match="2 layers must stay in FP32, and trtexec 8.2.1 cannot"):
            board.open().load(asked, "fp16", 64)
        return
    board.open().load(asked, "fp16", 64)
    (options,) = board.options()
    assert options["--precisionConstraints"] == "obey"
    assert options["--layerPrecisions"] == "first:fp32,act:fp32"
    assert options["--layerOutputTypes"] == "first:fp32,act:fp32"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_operator_that_it_does_not_know_is_named(install: Install, version: str) -> None:
    board = install(version)
    with pytest.raises(Fault) as refused:
        board.open().load(network(board.spool, convolution("HardSwish"), x=image()), "fp32", 64)
    fault = refused.value
    assert fault.status == "unsupported_op"
    assert fault.message.startswith("TensorRT refuses the network: node 'stem/act' (HardSwish): ")
    assert (fault.details["node"], fault.details["operator"]) == ("stem/act", "HardSwish")


@pytest.mark.parametrize("version", VERSIONS)
def test_out_of_memory_is_tried_once_more_with_a_quarter(
    install: Install, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    board = install(version)
    monkeypatch.setenv("GENSYNTH_TRTEXEC", "small")
    engine = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 256).engine
    assert engine is not None
    assert engine["workspace_mib"] == 64
    with pytest.raises(Fault, match="memory ran out in trtexec") as refused:
        board.open().load(network(board.spool, convolution(), x=image()), "fp32", 4096)
    assert refused.value.status == "oom"
    assert len(board.options()) == 4


def test_a_program_that_is_killed_ran_out_of_memory(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = install("8.2.1")
    runtime = board.open()
    monkeypatch.setenv("GENSYNTH_TRTEXEC", "killed")
    with pytest.raises(Fault, match=r"exit code -9") as killed:
        runtime.load(network(board.spool, convolution(), x=image()), "fp32", 16)
    assert killed.value.status == "oom"
    runtime.close()
    assert list(Path(board.spool.engines).iterdir()) == []


def test_a_loud_program_fills_no_memory(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    board = install("8.2.1")
    runtime = board.open()
    monkeypatch.setenv("GENSYNTH_TRTEXEC", "loud")
    engine = runtime.load(network(board.spool, convolution(), x=image()), "fp32", 64).engine
    assert engine is not None
    assert len(engine["log"]) <= LOG_LIMIT
    assert engine["log"].startswith("&&&& RUNNING")
    assert engine["log"].endswith("[TensorRT v8201]\n")


@pytest.mark.parametrize("version", ["8.2.1", "11.0.0"])
def test_outputs_that_are_no_numbers_are_seen(install: Install, version: str) -> None:
    board = install(version)
    loaded = board.open().load(network(board.spool, quotient(), x=image()), "fp32", 64)
    (output,) = loaded.outputs()
    found = first_not_finite(output)
    assert found is not None
    # The first number of the input has a sign, and divided by zero it keeps that.
    assert found == (0, "Infinity" if image().flat[0] > 0 else "-Infinity")


def test_no_energy_is_given(install: Install) -> None:
    board = install("8.2.1")
    loaded = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 64)
    assert loaded.no_windows is not None
    assert "does not say when its runs begin" in loaded.no_windows


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("useCudaGraph", "names neither --noCudaGraph nor --useCudaGraph, so its default of"),
        ("noDataTransfers", "neither --includeDataTransfers nor --noDataTransfers"),
    ],
)
def test_a_program_whose_defaults_are_not_known_is_not_used(
    install: Install, lacking: str, words: str
) -> None:
    board = install("8.2.1")
    script = board.program.read_text()
    board.program.write_text(script.replace('"$@"', f'"$@" | grep -v -- --{lacking}'))
    with pytest.raises(Fault, match=words) as refused:
        board.open()
    assert refused.value.status == "runtime_missing"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho usage\n", "does not say its version"),
        ("#!/bin/sh\necho 'cannot open libnvinfer.so.8' >&2; exit 127\n", "exit code 127"),
        ("\x7fELF of another machine", "cannot be run"),
    ],
)
def test_a_program_that_does_not_work_is_no_runtime(
    install: Install, script: str, words: str
) -> None:
    board = install("8.2.1")
    board.program.write_text(script)
    with pytest.raises(Fault, match=words) as refused:
        board.open()
    assert refused.value.status == "runtime_missing"


def test_a_board_without_the_program_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="there is no trtexec in .*/usr/src/tensorrt/bin, ") as refused:
        find_trtexec(str(tmp_path))
    assert refused.value.status == "runtime_missing"


@pytest.mark.parametrize(
    ("number", "version"),
    # NvInferVersion.h: up to 9, major * 1000 + minor * 100 + patch; from 10 on, major * 10000.
    [("8001", "8.0.1"), ("8201", "8.2.1"), ("8601", "8.6.1"), ("9100", "9.1.0"),
     ("100300", "10.3.0"), ("101401", "10.14.1"), ("110000", "11.0.0")],
)  # fmt: skip
def test_versions_are_read_from_their_number(number: str, version: str) -> None:
    assert trtexec._version(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] [b20]") == version


# As tensorrt-rtx 1.7 writes it: 8 is UNSUPPORTED_NODE.
CHECK_DET = """[E] [TRT] While parsing node number 1 [Det]:
[E] [TRT] ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:1130 In function checkDet:
[8] false
&&&& FAILED"""
FILE = OnnxFile((Node("first", "Conv"), Node("second", "Det")), (), "fp32")


@pytest.mark.parametrize(
    ("code", "said", "status", "words"),
    [
        (1, CHECK_DET, "unsupported_op", r"node 'second' \(Det\): .*checkDet: \[8\] false$"),
        (1, "[E] In node 9 (parseGraph): INVALID_GRAPH", "build_failed", "INVALID_GRAPH"),
        (1, "[E] [TRT] While parsing node number 77 [Det]:\n[E] UNSUPPORTED_NODE_ATTR",
         "unsupported_op", "refuses the network: .*UNSUPPORTED_NODE_ATTR"),
        (1, "[W] tactic 3: out of memory, skipped\n[E] no kernel", "build_failed", "no kernel"),
        (1, "[E] Error[1]: Out of memory", "oom", "memory ran out"),
        (137, "", "oom", "exit code 137.*it wrote no error"),
        (-11, "", "build_failed", "exit code -11"),
    ],
)  # fmt: skip
def test_what_it_says_at_its_end_has_a_status(
    code: int, said: str, status: str, words: str
) -> None:
    fault = refusal(code, said, FILE)
    assert fault.status == status
    with pytest.raises(Fault, match=words):
        raise fault


def written(tmp_path: Path, text: str) -> Any:
    """A program that writes a text wherever it is told to, with its folder."""
    path = tmp_path / "program"
    (tmp_path / "text").write_text(text)
    path.write_text(f'#!/bin/sh\nfor o in "$@"; do cp {tmp_path}/text "${{o#*=}}"; done\n')
    path.chmod(0o755)
    return Program(str(path), str(tmp_path))


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    text = '[ { "name" : "inf", "dimensions" : "3", "values" : [ nan, -inf, inf ] } ]'
    (output,) = written(tmp_path, text).outputs([])
    assert output.name == "inf"
    values = np.frombuffer(output.data, np.float32)
    assert np.isnan(values[0])
    assert values[1:].tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize("text", ["", "[", "{}garbage", "[1e]"])
def test_an_answer_that_is_no_json_is_a_fault(tmp_path: Path, text: str) -> None:
    with pytest.raises(Fault, match="trtexec wrote no JSON for --exportTimes") as refused:
        written(tmp_path, text).times([], 0)
    assert refused.value.status == "device_lost"


def test_a_name_with_a_colon_is_quoted(install: Install) -> None:
    board = install("8.2.1")
    model = onnx.load_from_string(convolution())
    model.graph.input[0].name = model.graph.node[0].input[0] = "x:0"
    inputs = {"x:0": image()}
    sent = network(board.spool, model.SerializeToString(), "net", **inputs)
    loaded = board.open().load(sent, "fp32", 64)
    assert loaded.outputs()[0].shape == (1, 4, 1, 1)
    assert board.options()[-1]["--loadInputs"].startswith("'x:0':")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_tells_what_each_layer_takes(install: Install, version: str) -> None:
    board = install(version)
    loaded = board.open().load(network(board.spool, convolution(), x=image()), "fp32", 256)
    assert loaded.profile(1.0) == [
        {"name": "stem/conv", "operator": "", "inputs": [], "outputs": [], "ms": 3.0}
    ]
    asked = board.options()[-1]
    assert {"--dumpProfile", "--separateProfileRun"} <= set(asked)
