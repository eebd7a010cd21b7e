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

from gensynth.bench.compare import median_interval, ratio_of_medians
from gensynth.bench.latency import Latency, measure, ratio
from gensynth.bench.timing import Timings, time_interleaved
from gensynth.errors import DeviceError, ExportError
from gensynth.export.onnx import to_onnx
from gensynth.prototypes.resnet import ResNet
from gensynth.trace import trace

MS = 1_000_000


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
    time_interleaved(subjects, rounds=4, runs=1, warmup_ns=0, clock=machine.clock)
    # Warm-up A, B; then ABBABAAB, every turn one run that is not timed and one that is.
    assert machine.diary == "AB" + "AABBBBAABBAAAABB"


def test_only_runs_after_the_first_of_a_turn_are_timed() -> None:
    machine = FakeMachine()
    costs = iter([5, *[9, 1, 2], *[8, 3, 4]])
    subject = machine.subject("A", lambda _: next(costs))
    (timings,) = time_interleaved([subject], rounds=2, runs=2, warmup_ns=0, clock=machine.clock)
    assert timings == Timings(((1, 2), (3, 4)), warmup_runs=1, steady=False)


def test_the_warm_up_ends_when_three_blocks_agree() -> None:
    machine = FakeMachine()
    costs = [8.0, 4.0, 2.0, 1.01, 1.0, 1.0]
    subject = machine.subject("A", lambda _: MS * (costs.pop(0) if costs else 1.0))
    (timings,) = time_interleaved(
        [subject], rounds=1, runs=1, warmup_ns=20 * MS, clock=machine.clock
    )
    # Blocks of 1 ms, so of one run: 1.01, 1.0 and 1.0 are the first three within 2 %.
    assert (timings.warmup_runs, timings.steady) == (6, True)


def test_a_warm_up_that_never_settles_ends_in_time_and_says_so() -> None:
    machine = FakeMachine()
    subject = machine.subject("A", lambda now: MS + now / 2)
    (timings,) = time_interleaved(
        [subject], rounds=1, runs=1, warmup_ns=8 * MS, clock=machine.clock
    )
    # The runs end at 1, 2.5, 4.75 and 8.125 ms, and the fourth is past the limit.
    assert (timings.warmup_runs, timings.steady) == (4, False)


def test_a_drift_does_not_favour_who_comes_first() -> None:
    # Everything slows by 3 % over the 440 ms that 20 rounds of two subjects take, so that one
    # after the other would find the second 1.5 % slower.
    def cost(now: int) -> float:
        return MS * (1 + 0.03 * now / (440 * MS))

    machine = FakeMachine()
    subjects = [machine.subject(letter, cost) for letter in "AB"]
    a, b = time_interleaved(subjects, rounds=20, runs=10, warmup_ns=0, clock=machine.clock)
    found = ratio_of_medians(b.rounds_ns, a.rounds_ns)
    assert found.value == pytest.approx(1.0, abs=0.001)
    assert found.low <= 1.0 <= found.high


def test_a_planted_slowdown_is_found() -> None:
    machine = FakeMachine()
    noise = np.random.default_rng(0)

    def cost(slowdown: float) -> Callable[[int], float]:
        # A busy neighbour comes and goes every 200 ms and doubles everything.
        return lambda now: MS * slowdown * (1 + now // (200 * MS) % 2) * noise.gamma(400, 1 / 400)

    subjects = [machine.subject("A", cost(1.0)), machine.subject("B", cost(1.05))]
    a, b = time_interleaved(subjects, rounds=40, runs=10, warmup_ns=0, clock=machine.clock)
    found = ratio_of_medians(b.rounds_ns, a.rounds_ns)
    assert found.low > 1.0
    assert found.low < 1.05 < found.high


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    # Rounds of ten runs that share most of their noise, so that 200 runs are worth little
    # more than 20. Resampling single runs would cover in fewer than half of the trials.
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        rounds = rng.normal(10, 1, size=(20, 1)) + rng.normal(0, 0.3, size=(20, 10))
        low, high = median_interval(rounds.tolist())
        covered += low <= 10 <= high
    assert covered >= 90


def test_the_ratio_of_equals_covers_one_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        shared = rng.normal(10, 1, size=(20, 1))  # what slows a round slows both
        a, b = (shared + rng.normal(0, 0.3, size=(20, 10)) for _ in range(2))
        found = ratio_of_medians(a.tolist(), b.tolist())
        covered += found.low <= 1 <= found.high
    assert covered >= 90


def test_a_ratio_draws_the_same_rounds_for_both_sides() -> None:
    # B is always twice A, however the rounds vary: the interval has no width.
    a = [[1.0], [5.0], [2.0], [9.0], [3.0]]
    b = [[2 * run for run in turn] for turn in a]
    found = ratio_of_medians(b, a)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="the same rounds on both sides, got 5 and 4"):
        ratio_of_medians(b, a[:4])


def test_percentiles_are_given_only_where_there_are_runs_to_show_them() -> None:
    # Ten runs beyond the percentile: 100 for p90, 1,000 for p99. Of 1 to 101 the median is
    # 51 and the 90th percentile 91.
    few = latency(runs=range(1, 100))
    assert (few.p50_ms, few.p90_ms, few.p99_ms) == (50.0, None, None)
    some = latency(runs=range(1, 102))
    assert (some.p50_ms, some.p90_ms, some.p99_ms) == (51.0, 91.0, None)
    assert latency(runs=range(1, 1002)).p99_ms == pytest.approx(991.0)


def test_the_record_is_json_and_keeps_every_run() -> None:
    measured = latency(runs=[3.0, 1.0, 2.0])
    record = json.loads(json.dumps(measured.record(), allow_nan=False))
    assert record["rounds_ms"] == [[3.0, 1.0, 2.0]]
    assert (record["n"], record["p50_ms"], record["provenance"]) == (3, 2.0, "measured")
    assert record["p90_ms"] is None


def test_a_ratio_over_two_sessions_is_refused() -> None:
    one = latency(runs=[1.0])
    with pytest.raises(ValueError, match="different sessions"):
        ratio(one, replace(one, session="another"))


def test_a_latency_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one timed run"):
        latency(runs=[])


@pytest.mark.realtime
def test_files_are_timed_and_described(tmp_path: Path) -> None:
    small, large = network_file(tmp_path, 4), network_file(tmp_path, 32)
    measured = measure([small, large, small], repeats=25, warmup_s=0.02)
    assert [entry.network for entry in measured] == ["w4.onnx", "w32.onnx", "w4.onnx"]
    assert [len(entry.latencies_ms) for entry in measured] == [30, 30, 30]
    assert measured[0].sha256 == measured[2].sha256 != measured[1].sha256
    assert measured[0].runtime == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider"
    # 25 to 60 times the multiplications: no noise hides that.
    found = ratio(measured[1], measured[0])
    assert found.low > 2


@pytest.mark.realtime
def test_a_file_beside_itself_is_as_fast(tmp_path: Path) -> None:
    file = network_file(tmp_path, 16)
    a, b = measure([file, file], repeats=400, warmup_s=0.1)
    found = ratio(a, b)
    assert found.low - 0.03 <= 1 <= found.high + 0.03


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
        (measured,) = measure([file], repeats=50, warmup_s=0.05)
        ours.extend(measured.latencies_ms)
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


def test_another_device_or_a_senseless_number_is_refused(tmp_path: Path) -> None:
    file = network_file(tmp_path, 4)
    with pytest.raises(DeviceError, match="no device named 'tx2'"):
        measure([file], device="tx2")
    with pytest.raises(ValueError, match="at least one file"):
        measure([])
    with pytest.raises(ValueError, match="at least 1"):
        measure([file], repeats=0)


def latency(runs: Iterable[float]) -> Latency:
    return Latency(
        network="a.onnx",
        sha256="0" * 64,
        device="local",
        runtime="none",
        rounds_ms=(tuple(float(run) for run in runs),),
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
