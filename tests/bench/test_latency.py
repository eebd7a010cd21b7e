"""Timing in turns, its intervals, and the files it refuses; most of it on a fake clock."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from gensynth.bench import figures
from gensynth.bench.compare import median_interval, paired_ratio
from gensynth.bench.grades import Warmup
from gensynth.bench.latency import Latency, certain_range, measure, ratio
from gensynth.bench.timing import Timings, time_interleaved
from gensynth.devices.agent.board import others
from gensynth.errors import DeviceError, ExportError
from gensynth.export.onnx import to_onnx
from gensynth.prototypes.resnet import ResNet
from gensynth.trace import trace
from tests.onnx_files.written import convolution

MS = 1_000_000
COLD = Warmup(min_s=0, block_s=0, agree_pct=0, cap_s=0)
"""Three blocks of one run each."""


class FakeMachine:
    """A clock that only what runs moves on, and a diary of what ran."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.diary = ""

    def clock(self) -> int:
        return self.now_ns

    def subject(self, letter: str, cost_ns: Callable[[int], float]) -> Callable[[], None]:
        """Something that takes `cost_ns(now)`."""

        def run() -> None:
            self.diary += letter
            self.now_ns += round(cost_ns(self.now_ns))

        return run


def test_the_turns_are_those_of_the_thue_morse_sequence() -> None:
    machine = FakeMachine()
    subjects = [machine.subject(letter, lambda _: MS) for letter in "AB"]
    time_interleaved(subjects, rounds=4, runs=1, warmup=COLD, clock=machine.clock)
    # Warm-up A, B; then ABBABAAB, every turn one run that is not timed and one that is.
    assert machine.diary == "AAABBB" + "AABBBBAABBAAAABB"


def test_only_runs_after_the_first_of_a_turn_are_timed() -> None:
    machine = FakeMachine()
    costs = iter([7, 6, 5, *[9, 1, 2], *[8, 3, 4]])
    subject = machine.subject("A", lambda _: next(costs))
    (timings,) = time_interleaved([subject], rounds=2, runs=2, warmup=COLD, clock=machine.clock)
    assert timings == Timings(((1, 2), (3, 4)), warmup_runs=3, steady=False)


def test_a_drift_does_not_favour_who_comes_first() -> None:
    # Everything slows by 3 % over the 440 ms that 20 rounds of two subjects take, so that one
    # after the other would find the second 1.5 % slower.
    def cost(now: int) -> float:
        return MS * (1 + 0.03 * now / (440 * MS))

    machine = FakeMachine()
    subjects = [machine.subject(letter, cost) for letter in "AB"]
    a, b = time_interleaved(subjects, rounds=20, runs=10, warmup=COLD, clock=machine.clock)
    found = paired_ratio(b.rounds_ns, a.rounds_ns)
    assert found.value == pytest.approx(1.0, abs=0.001)
    assert found.interval is not None
    assert found.interval[0] <= 1.0 <= found.interval[1]


def test_a_planted_slowdown_is_found() -> None:
    machine = FakeMachine()
    noise = np.random.default_rng(0)

    def cost(slowdown: float) -> Callable[[int], float]:
        # A busy neighbour comes and goes every 200 ms and slows everything by a fifth.
        return lambda now: (
            MS * slowdown * (1 + now // (200 * MS) % 2 / 5) * noise.gamma(400, 1 / 400)
        )

    subjects = [machine.subject("A", cost(1.0)), machine.subject("B", cost(1.05))]
    a, b = time_interleaved(subjects, rounds=40, runs=10, warmup=COLD, clock=machine.clock)
    found = paired_ratio(b.rounds_ns, a.rounds_ns)
    assert found.interval is not None
    assert 1.0 < found.interval[0] < 1.05 < found.interval[1]


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    # Rounds of ten runs that share most of their noise, so that 200 runs are worth little
    # more than 20. Resampling single runs would cover in fewer than half of the trials.
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        rounds = rng.normal(10, 1, size=(20, 1)) + rng.normal(0, 0.3, size=(20, 10))
        low, high = median_interval(rounds.tolist()) or (0, 0)
        covered += low <= 10 <= high
    assert covered >= 90


def test_the_figures_are_the_benchs_own() -> None:
    measured = latency(rounds=[[1.0, 3.0], [2.0, 4.0], [2.0, 4.0], [1.0, 3.0], [1.5, 3.5]])
    found = figures.latency(np.array(measured.rounds_ms), 1)
    assert measured.figures == found
    record = measured.record()
    assert [record["p50_low_ms"], record["p50_high_ms"]] == found["p50_ci95_ms"]
    assert (record["p50_ms"], record["cov_pct"]) == (found["p50_ms"], found["cov_pct"])


def test_too_few_rounds_have_no_interval_and_decide_nothing() -> None:
    record = latency(rounds=[[40.6] * 10]).record()
    assert (record["p50_ms"], record["p50_low_ms"], record["p50_high_ms"]) == (40.6, None, None)
    assert certain_range(record) is None


def test_a_latency_that_was_not_steady_decides_nothing_and_says_so() -> None:
    steady = latency(rounds=[[1.0, 1.01]] * 5)
    assert steady.flags == ()
    assert certain_range(steady.record()) == pytest.approx((1.005, 1.005))
    hasty = replace(steady, steady=False)
    assert hasty.record()["flags"] == ["not_steady"]
    assert certain_range(hasty.record()) is None


def test_a_latency_whose_runs_scatter_says_so() -> None:
    # 1 and 2 by turns: a deviation of 0.5 on a mean of 1.5 is 33 %.
    assert latency(rounds=[[1.0, 2.0]] * 5).flags == ("scatter",)


def test_a_machine_that_was_not_quiet_bounds_a_latency_from_above_alone() -> None:
    quiet = latency(rounds=[[1.0, 1.01], [1.02, 1.03]] * 3)
    low, high = certain_range(quiet.record()) or (None, None)
    assert low is not None
    assert 1 < low < 1.015 < (high or 0) < 1.04
    busy = replace(quiet, busy=True)
    assert busy.flags == ("busy",)
    assert certain_range(busy.record()) == (0.0, high)


def test_others_at_work_meanwhile_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, used = convolution(tmp_path / "net.onnx"), iter((0.1, 0.9, None))
    monkeypatch.setattr(others, "between", lambda *_: {"processors": next(used)})
    assert [measure([file], repeats=20)[0].busy for _ in range(3)] == [False, True, False]


def test_more_threads_than_processors_are_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = convolution(tmp_path / "net.onnx")
    monkeypatch.setattr(others, "processors", lambda _: 1.0)
    found = [measure([file], repeats=1, warmup=COLD, threads=n)[0].flags for n in (1, 2)]
    assert ["threads" in flags for flags in found] == [False, True]


def test_the_record_is_json_and_keeps_every_run() -> None:
    measured = latency(rounds=[[3.0, 1.0, 2.0]])
    record = json.loads(json.dumps(measured.record(), allow_nan=False))
    assert record["rounds_ms"] == [[3.0, 1.0, 2.0]]
    assert (record["n"], record["p50_ms"], record["provenance"]) == (3, 2.0, "measured")
    assert record["p90_ms"] is None


def test_a_ratio_over_two_sessions_is_refused() -> None:
    one = latency(rounds=[[1.0]])
    with pytest.raises(ValueError, match="different sessions"):
        ratio(one, replace(one, session="another"))


def test_a_latency_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one timed run"):
        latency(rounds=[[]])


@pytest.mark.realtime
def test_files_are_timed_and_described(tmp_path: Path) -> None:
    small, large = network_file(tmp_path, 4), network_file(tmp_path, 32)
    measured = measure([small, large, small], repeats=25)
    assert [entry.network for entry in measured] == ["w4.onnx", "w32.onnx", "w4.onnx"]
    assert [np.shape(entry.rounds_ms) for entry in measured] == [(20, 2)] * 3
    assert measured[0].sha256 == measured[2].sha256 != measured[1].sha256
    assert measured[0].runtime == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    # 25 to 60 times the multiplications: no noise hides that.
    found = ratio(measured[1], measured[0])
    assert found.interval is not None
    assert found.interval[0] > 2


@pytest.mark.realtime
def test_a_file_beside_itself_is_as_fast(tmp_path: Path) -> None:
    file = network_file(tmp_path, 16)
    a, b = measure([file, file], repeats=400)
    found = ratio(a, b)
    assert found.interval is not None
    assert found.interval[0] - 0.03 <= 1 <= found.interval[1] + 0.03


@pytest.mark.realtime
@pytest.mark.slow  # a machine busy with something else can move either loop
def test_the_median_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    file = network_file(tmp_path, 16)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(12):
        (measured,) = measure([file], repeats=50)
        ours.extend(run for turn in measured.rounds_ms for run in turn)
        for number in range(70):
            start = time.perf_counter()
            session.run(None, {"images": images})
            if number >= 20:
                plain.append(1000 * (time.perf_counter() - start))
    assert np.median(ours) == pytest.approx(np.median(plain), rel=0.15)


def test_a_file_that_is_absent_or_damaged_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.onnx"
    with pytest.raises(ExportError, match=r"cannot read .*bad\.onnx: No such file"):
        measure([file])
    file.write_bytes(network_file(tmp_path, 4).read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"bad\.onnx is damaged"):
        measure([file])


def test_a_file_that_cannot_be_timed_is_refused_with_the_reason(tmp_path: Path) -> None:
    fixed = plain_file(tmp_path, "Relu", [2, 3])
    with pytest.raises(DeviceError, match="takes 2 images at a time, so not 1"):
        measure([fixed])
    assert measure([fixed], batch=2, repeats=1)[0].batch == 2
    with pytest.raises(DeviceError, match=r"\['n', 'width'\]; only float images of fixed size"):
        measure([plain_file(tmp_path, "Relu", ["n", "width"])])
    with pytest.raises(DeviceError, match=r"tensor\(int64\)"):
        measure([plain_file(tmp_path, "Abs", ["n", 3], TensorProto.INT64)])
    # Half of normal noise is negative, and its logarithm is no number.
    with pytest.raises(DeviceError, match="not finite; not timed"):
        measure([plain_file(tmp_path, "Log", ["n", 64])])


def test_few_repeats_are_a_round_each(tmp_path: Path) -> None:
    (measured,) = measure([network_file(tmp_path, 4)], repeats=6, warmup=COLD)
    assert np.shape(measured.rounds_ms) == (6, 1)


def test_a_senseless_number_is_refused(tmp_path: Path) -> None:
    file = network_file(tmp_path, 4)
    with pytest.raises(ValueError, match="at least one file"):
        measure([])
    with pytest.raises(ValueError, match="at least 1"):
        measure([file], repeats=0)


def latency(rounds: Iterable[Iterable[float]]) -> Latency:
    return Latency(
        network="a.onnx",
        sha256="0" * 64,
        runtime="none",
        rounds_ms=tuple(map(tuple, rounds)),
        threads=1,
        batch=1,
        warmup_runs=0,
        steady=True,
        session="one",
    )


def network_file(folder: Path, width: int) -> Path:
    """A ResNet-8 of this width at CIFAR size."""
    path = folder / f"w{width}.onnx"
    if not path.exists():
        network = ResNet(blocks=1, widths=(width, 2 * width, 4 * width)).eval()
        graph = trace(network, torch.zeros(2, 3, 32, 32), name="resnet8")
        weights = {key: value.numpy() for key, value in network.state_dict().items()}
        path.write_bytes(to_onnx(graph, weights))
    return path


def plain_file(
    folder: Path, op: str, shape: list[int | str], kind: int = TensorProto.FLOAT
) -> Path:
    """One operator, made without our writer."""
    values = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], op, values[:1], values[1:])
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=7)
    path = folder / f"{op}-{len(list(folder.iterdir()))}.onnx"
    path.write_bytes(model.SerializeToString())
    return path
