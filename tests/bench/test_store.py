"""The store keeps measurements as they were, answers a question again, and no simulation."""

import contextlib
import multiprocessing
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gensynth.bench.grades import find_grade
from gensynth.bench.record import make
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.registry import Device
from gensynth.errors import StoreError
from tests.fakes.agent_results import AgentResult
from tests.onnx_files.written import convolution

POINT = {"p50_ms": 1.0, "delta_sigma": None, "points": 1}
Make = Callable[..., tuple[dict[str, Any], dict[str, bytes]]]


@pytest.fixture
def measured(tmp_path: Path) -> Make:
    """Makes a record of two networks and its raw times; the keywords take the place of fields."""
    files = [convolution(tmp_path / f"{name}.onnx", seed=k) for k, name in enumerate("ab")]
    subjects = tuple(read(source) for source in find(files))
    quick = replace(find_grade("quick"), quiet=None)
    request = Request(Device("tx2", "nvidia@tx2"), subjects, quick)

    def one(job_id: str = "job-1", **fields: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
        times = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
        result = AgentResult(request, [times, 2 * times])
        about = {"started_utc": "2026-11-24T12:00:00", "command": "gensynth bench a.onnx b.onnx"}
        record, raw = make(request, {**result.result, "id": job_id}, result.fetch, about)
        return {**record, **fields}, raw

    return one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data" / "measurements.sqlite")


def test_a_record_comes_back_as_it_was_kept_with_its_raw_times(
    store: Store, measured: Make
) -> None:
    record, raw = measured()
    store.keep("key", record, raw)
    assert store.answer("key") == record
    times = store.raw(record["networks"][1]["latency"]["raw"])
    assert np.frombuffer(times, "<u8").tolist() == [2_000_000, 4_000_000] * 3


def test_a_record_that_could_not_be_read_again_is_not_kept(store: Store, measured: Make) -> None:
    store.keep("key", *measured())
    odd, raw = measured("job-2", flags=["slow"])  # which stands with what is usual
    with pytest.raises(StoreError, match="a record without its form is not kept: .*slow must"):
        store.keep("key", odd, raw)
    assert store.answer("key") is not None


def test_a_record_of_an_interval_that_goes_below_zero_is_read(store: Store, measured: Make) -> None:
    record, raw = measured()
    record["networks"][0]["latency"]["ci95_ms"] = [-0.1, 2.0]  # as they once were
    store.keep("key", record, raw)
    assert store.answer("key") == record


def test_a_file_of_the_first_version_is_kept_and_gains_doubts(store: Store, measured: Make) -> None:
    for number in range(4):
        store.keep(
            f"key-{number}", *measured(f"job-{number}", reference={**POINT, "chart": "key-1"})
        )
    store.keep("key-4", *measured("job-4", reference={**POINT, "chart": "another"}))
    with contextlib.closing(sqlite3.connect(store.path)) as database:  # as version 1 left it
        database.executescript(
            "drop table doubts; drop table kernels; drop table plans; drop index networks_by_file; "
            "drop index networks_by_machine; pragma user_version = 1;"
        )
    assert len(store.measured()) == 10
    assert store.doubt("key-1", after="job-1", found_by="job-3") == 2
    assert {row["job_id"] for row in store.measured()} == {"job-0", "job-1", "job-4"}
    assert store.answer("key-2") is None
    assert [record["job_id"] for record in store.under("key-2")] == ["job-2"]  # and nothing is lost
    assert store.jobs_since("job-1") == 3
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        for act in ("update doubts set found_by = 'job-0'", "delete from doubts"):
            with pytest.raises(sqlite3.Error, match="only appended"):
                database.execute(act)


def test_nothing_is_there_before_something_is_kept(store: Store) -> None:
    assert store.answer("key") is None
    assert store.measured() == []
    assert not store.path.parent.exists()
    with pytest.raises(StoreError, match="has no raw samples abc"):
        store.raw("abc")


def test_another_request_has_no_answer(store: Store, measured: Make) -> None:
    store.keep("key", *measured())
    assert store.answer("another") is None


def test_the_newest_answer_counts(store: Store, measured: Make) -> None:
    for day in (3, 5, 4):
        record, raw = measured(f"job-{day}", started_utc=f"2026-11-0{day}T12:00:00")
        store.keep("key", record, raw)
    answer = store.answer("key")
    assert answer is not None
    assert answer["job_id"] == "job-5"


def test_a_job_counts_once_however_often_it_is_kept(store: Store, measured: Make) -> None:
    for _ in range(3):
        store.keep("key", *measured())
    assert len(store.measured()) == 2  # its two networks


@pytest.mark.parametrize(
    "fields",
    [
        {"provenance": "simulated"},
        {"status": "throttled"},
        {"status": "not_steady"},
    ],
    ids=str,
)
def test_what_may_not_be_used_is_kept_and_never_given(
    store: Store, measured: Make, fields: dict[str, str]
) -> None:
    record, raw = measured(**fields)
    store.keep("key", record, raw)
    assert store.answer("key") is None
    assert store.measured() == []
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        rows = database.execute("select status, provenance from jobs").fetchall()
    assert rows == [(record["status"], record["provenance"])]


def test_what_was_not_as_asked_is_used_and_answers_nothing(store: Store, measured: Make) -> None:
    # A power mode that was refused: figures of another mode, under this request.
    record, raw = measured(status="degraded", flags=["power_mode_refused"])
    store.keep("key", record, raw)
    assert store.answer("key") is None
    assert len(store.measured()) == 2


@pytest.mark.parametrize("flag", ["busy", "threads", "scatter", "slow"])
def test_figures_of_a_disturbance_teach_nothing(store: Store, measured: Make, flag: str) -> None:
    record, raw = measured(status="degraded", flags=["smaller_workspace", flag])
    record["device"]["processors"] = 4
    record["reference_in_turns"] = {"p50_ms": 3.0, "why": None, "usual_p50_ms": 2.0, "jobs": 4}
    store.keep("key", record, raw)
    assert store.measured() == []


def test_a_row_of_a_network_carries_its_whole_context(store: Store, measured: Make) -> None:
    record, raw = measured()
    store.keep("key", record, raw)
    a, b = store.measured("tx2")
    assert a["structure_sha256"] == b["structure_sha256"]  # other weights alone
    assert a["onnx_sha256"] != b["onnx_sha256"]
    assert (a["p50_ms"], b["p50_ms"]) == (1.5, 3.0)
    context = {key: b[key] for key in ("device", "serial_hash", "runtime", "runtime_version")}
    assert context == {
        "device": "tx2",
        "serial_hash": "0123456789abcdef",
        "runtime": "onnxruntime",
        "runtime_version": "1.10.0",
    }
    assert (b["precision"], b["threads"], b["batch"], b["grade"]) == ("fp32", 1, 1, "quick")
    assert b["power_mode"] == '{"id": 0, "name": "MAXN"}'
    assert '"gpu_mhz": 1300.5' in b["clocks"]
    assert (b["j_per_img"], b["rail"]) == (None, None)
    assert store.measured("another") == []


@pytest.mark.parametrize("table", ["jobs", "networks", "raw"])
def test_nothing_can_be_changed_or_removed(store: Store, measured: Make, table: str) -> None:
    store.keep("key", *measured())
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        (column, *_), *_ = database.execute(f"select name from pragma_table_info('{table}')")
        for act in (f"delete from {table}", f"update {table} set {column} = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="only appended"):
                database.execute(act)


def test_a_figure_of_zero_is_refused(store: Store, measured: Make) -> None:
    record, raw = measured()
    record["networks"][0]["latency"]["p50_ms"] = 0.0
    with pytest.raises(StoreError, match=r"p50_ms must be greater than 0, got 0\.0"):
        store.keep("key", record, raw)
    assert store.measured() == []  # nothing of the job is there


def test_a_damaged_file_is_named(store: Store, measured: Make) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 9)
    with pytest.raises(StoreError, match="measurements.sqlite cannot be used.*move it away"):
        store.keep("key", *measured())


def test_a_file_of_another_version_is_left_alone(store: Store, measured: Make) -> None:
    store.keep("key", *measured())
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        database.execute("pragma user_version = 9")
    with pytest.raises(StoreError, match="has version 9, this version reads 2"):
        store.answer("key")


def _keep_ten(path: Path, who: int, record: dict[str, Any], raw: dict[str, bytes]) -> None:
    for number in range(10):
        Store(path).keep(f"key-{who}", {**record, "job_id": f"job-{who}-{number}"}, raw)


def test_two_processes_may_keep_at_once(store: Store, measured: Make) -> None:
    record, raw = measured()
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_keep_ten, args=(store.path, who, record, raw)) for who in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(store.measured()) == 2 * 10 * 2


def test_a_place_that_cannot_be_written_is_refused_before_the_measuring(
    tmp_path: Path, store: Store
) -> None:
    store.require_room(1000)
    assert not store.path.parent.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file is no folder"):
        Store(tmp_path / "file" / "measurements.sqlite").require_room(1000)


def test_room_that_is_not_there_is_refused_before_the_measuring(store: Store) -> None:
    with pytest.raises(StoreError, match="needs .* MiB for what is to be measured: .*; make room"):
        store.require_room(1 << 60)  # more than any disk; a file system may say that it is too big


def test_the_file_is_its_users_alone(store: Store, measured: Make) -> None:
    store.keep("key", *measured())
    assert store.path.stat().st_mode & 0o777 == 0o600
    store.path.chmod(0o644)  # as an earlier version left it
    assert store.answer("key") is not None
    assert store.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("[" * 100_000, "recursion limit"),
        ('{"job_id": 7}', "job_id must be text, got 7"),
        ("{}", "job_id is missing"),
    ],
)
def test_a_record_that_is_none_is_named_in_a_line(
    store: Store, measured: Make, record: str, said: str
) -> None:
    store.keep("key", *measured())
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        database.execute("drop trigger jobs_update")
        database.execute("update jobs set record = ?", [record])
        database.commit()
    with pytest.raises(StoreError, match=said):
        store.answer("key")


def test_raw_times_with_another_hash_are_not_given(store: Store, measured: Make) -> None:
    record, raw = measured()
    store.keep("key", record, raw)
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        database.execute("drop trigger raw_update")
        database.execute("update raw set content = ?", [zlib.compress(b"other times")])
        database.commit()
    with pytest.raises(StoreError, match="have another hash"):
        store.raw(record["networks"][0]["latency"]["raw"])
