"""What the store holds calibrates: its own context as it is, others with more variance."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gensynth.bench.estimate.answer import estimated
from gensynth.bench.estimate.calibration import (
    MOST,
    OTHER_SETTING,
    OTHER_VERSION,
    Context,
    measured,
    read_kernels,
    samples_of,
    write_kernels,
)
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.grades import find_grade
from gensynth.bench.record import make
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import Device
from gensynth.export.runtime import convolution_block
from tests.fakes.agent_results import AgentResult
from tests.onnx_files.written import convolution

KERNELS = tuple(
    Kernel("conv blocked", f"v{k}", 10 * k, k, k + 1, {"read": k, "written": 2.5}) for k in range(3)
)


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    file = convolution(tmp_path / "a.onnx", seed=0)
    quick = replace(find_grade("quick"), quiet=None)
    request = Request(Device("tx2", "nvidia@tx2"), (read(find([file])[0]),), quick)
    result = AgentResult(request, [np.array([[1.0, 2.0], [1.0, 2.0]])])
    about = {"started_utc": "2026-11-24T12:00:00", "command": "gensynth bench a.onnx"}
    return make(request, {**result.result, "id": "job"}, result.fetch, about)[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data" / "measurements.sqlite")


def kept(store: Store, record: dict[str, Any], job: str, sha256: str, **other: Any) -> None:
    """Keep a record of one network with its kernels."""
    changed = json.loads(json.dumps({**record, "job_id": job, **other}))
    changed["networks"][0]["onnx_sha256"] = sha256
    store.keep(job, changed, {}, {0: (write_kernels(KERNELS), json.dumps([0.1, 0.2, 0.3]))})


def test_kernels_come_back_as_they_were_written() -> None:
    assert read_kernels(write_kernels(KERNELS)) == KERNELS


def test_what_was_measured_in_a_context_calibrates_it(store: Store, record: dict[str, Any]) -> None:
    kept(store, record, "one", "a" * 64)
    context = Context.of(store.measured()[0])
    (sample,) = samples_of(store, context)
    assert (sample.kernels, sample.kernel_ms) == (KERNELS, (0.1, 0.2, 0.3))
    assert (sample.latency_ms, sample.variance) == (1.5, 0.0)


def test_another_context_is_inherited_with_more_variance(
    store: Store, record: dict[str, Any]
) -> None:
    kept(store, record, "one", "a" * 64)
    context = Context.of(store.measured()[0])
    newer, mode = replace(context, runtime_version="9"), replace(context, power_mode="{}")
    assert [s.variance for s in samples_of(store, newer)] == [OTHER_VERSION]
    assert [s.variance for s in samples_of(store, mode)] == [OTHER_SETTING]
    assert samples_of(store, replace(context, serial_hash="another")) == ()


def test_a_file_counts_once_with_its_newest_times(store: Store, record: dict[str, Any]) -> None:
    for job in ("one", "two"):
        kept(store, record, job, "a" * 64)
    context = Context.of(store.measured()[0])
    assert len(samples_of(store, context)) == 1


def test_a_measured_file_has_its_own_figure_and_no_estimate(
    store: Store, record: dict[str, Any]
) -> None:
    kept(store, record, "one", "a" * 64)
    context = Context.of(store.measured()[0])
    figure = measured(store, context, "a" * 64)
    assert figure is not None
    assert (figure.value, figure.provenance) == (1.5, "measured")
    assert measured(store, context, "b" * 64) is None
    assert measured(store, replace(context, threads=4), "a" * 64) is None


def test_what_was_measured_calibrates_an_estimate_and_is_the_figure_of_its_own_file(
    store: Store, record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = record["device"]["serial_hash"]
    monkeypatch.setattr("gensynth.bench.estimate.calibration.machine_of", lambda device: machine)
    files = [convolution(tmp_path / f"{width}.onnx", width=width) for width in (8, 12)]
    before = estimated(files, device="local", store=store)
    figures = [one["figures"]["latency_ms"] for one in before["networks"]]
    assert [figure["provenance"] for figure in figures] == ["estimate", "estimate"]
    # The first takes ten times what is believed of it, and so the second is told to.
    known = read(find([files[0]])[0])
    document = json.loads(json.dumps(record))
    document["networks"][0]["onnx_sha256"] = known.sha256
    document["networks"][0]["latency"].update(p50_ms=10 * figures[0]["value"])
    kernels = write_kernels(plan(known.sized, convolution_block()))
    store.keep("one", document, {}, {0: (kernels, None)})
    measured_one, other = (
        one["figures"]["latency_ms"]
        for one in estimated(files, device="local", store=store)["networks"]
    )
    assert measured_one["provenance"] == "measured"
    assert measured_one["value"] == 10 * figures[0]["value"]
    assert (other["provenance"], other["measurements"]) == ("calibrated estimate", 1)
    assert other["value"] == pytest.approx(10 * figures[1]["value"], rel=0.3)


@pytest.mark.slow
def test_ten_thousand_records_are_looked_through_at_once(
    store: Store, record: dict[str, Any]
) -> None:
    kept(store, record, "first", "f" * 64)
    context = Context.of(store.measured()[0])
    with store._open() as database:  # what `keep` writes, in one transaction
        row = database.execute("select * from jobs").fetchone()
        network = database.execute("select * from networks").fetchone()
        kernels = database.execute("select * from kernels").fetchone()
        for number in range(10_000):
            if number < MOST:  # as many different networks as calibrate
                layers = tuple(replace(kernel, macs=number) for kernel in 12 * KERNELS)
                plan_of = [f"plan-{number}", write_kernels(layers)]
                database.execute("insert into plans values (?, ?)", plan_of)
            job, own_plan = f"job-{number}", f"plan-{number % MOST}"
            database.execute(f"insert into jobs values ({', '.join('?' * 9)})", [job, *row[1:]])
            own = [job, *network[1:3], f"{number:064}", *network[4:]]
            database.execute(f"insert into networks values ({', '.join('?' * 20)})", own)
            known = [job, kernels[1], own_plan, json.dumps(36 * [0.1])]
            database.execute("insert into kernels values (?, ?, ?, ?)", known)
    start = time.perf_counter()
    few = samples_of(store, context)
    whole_s = time.perf_counter() - start
    start = time.perf_counter()
    store.measured()
    assert len(few) == MOST
    assert whole_s < (time.perf_counter() - start) / 2  # it does not read them all
