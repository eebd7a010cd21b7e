"""What becomes of a job, whatever its worker does; and that nothing of it stays behind.

The first half has the real worker and ONNX Runtime, the second a worker that misbehaves, packed
into the same agent.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.client import Connection, connect
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes.board import IMPATIENT, MISBEHAVING, SESSION, Home, altered
from tests.fakes.misbehaving import OUT_OF_MEMORY
from tests.onnx_files import errands
from tests.onnx_files.errands import Errand


@pytest.fixture
def clean(agent_home: Home) -> Iterator[Home]:
    """The agent's folder, which holds nothing that should not be there after the test."""
    yield agent_home
    assert agent_home.leftovers() == []


def result_of(errand: Errand) -> dict[str, Any]:
    """The result of a job with the real worker, here."""
    with connect(LOCAL) as connection:
        return connection.run(errand.spec, errand.blobs)


def misbehave(how: str, name: str = "job", **changes: Any) -> dict[str, Any]:
    """The result of a job whose worker does what `how` says."""
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        return run(connection, how, name, **changes)


def run(connection: Connection, how: str, name: str = "job", **changes: Any) -> dict[str, Any]:
    """The same, of a session that is there."""
    errand = errands.good(name, network_id=how, **changes)
    return connection.run(errand.spec, errand.blobs)


def still_works(name: str = "after") -> bool:
    """Whether the job that follows is measured."""
    return result_of(errands.good(name))["status"] == "ok"


@pytest.mark.slow
def test_outputs_that_are_no_numbers(clean: Home) -> None:
    result = result_of(errands.not_a_number("nan"))
    assert result["status"] == "invalid_output"
    assert result["networks"] == []
    assert (result["details"]["network"], result["details"]["tensor"]) == ("net", "y")
    assert "position 2" in result["message"]
    assert still_works()


def test_an_operator_that_the_runtime_does_not_know(clean: Home) -> None:
    result = result_of(errands.unknown_operator("guess"))
    assert result["status"] == "unsupported_op"
    assert result["details"]["operator"] == "Guess"


def test_a_file_that_is_no_network(clean: Home) -> None:
    result = result_of(errands.errand("junk", b"\x08\x07junk"))
    assert result["status"] == "build_failed"
    assert result["networks"] == []


def test_a_network_that_never_ends(clean: Home) -> None:
    result = result_of(errands.endless("endless", limits={"run_s": 0.5}))
    assert result["status"] == "timeout_run"
    assert "0.5 s" in result["message"]
    assert still_works()


def test_building_has_a_limit_of_its_own(clean: Home) -> None:
    assert result_of(errands.good("slow", limits={"build_s": 0.01}))["status"] == "timeout_build"


@pytest.mark.slow
def test_a_network_that_needs_more_memory_than_there_is(clean: Home) -> None:
    with connect(LOCAL) as connection:
        limit = 8 << 30  # of address space: enough for the runtime, not for 16 GiB
        resource.prlimit(connection.hello["pid"], resource.RLIMIT_AS, (limit, limit))
        errand = errands.huge("huge")
        result = connection.run(errand.spec, errand.blobs)
        small = errands.good("small")
        assert connection.run(small.spec, small.blobs)["status"] == "ok"
    assert result["status"] == "oom"


@pytest.mark.slow
def test_what_the_kernel_says_of_memory_that_ran_out_is_kept(
    clean: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev").mkdir()
    earlier = "3,1,1000,-;Out of memory: Killed process 1 (of an hour ago)\n"
    (tmp_path / "dev/kmsg").write_text(earlier)
    monkeypatch.setenv("GENSYNTH_AGENT_ROOT", str(tmp_path))
    result = misbehave("outgrows")
    assert result["status"] == "oom"
    assert result["details"]["kernel"] == [OUT_OF_MEMORY]
    assert result["message"].endswith(f"; the kernel says: {OUT_OF_MEMORY}")
    silent = misbehave(f"signal-{signal.SIGKILL:d}", "silent")
    assert (silent["status"], silent["details"]["kernel"]) == ("oom", [])


def test_no_runtime_of_those_asked_for(clean: Home) -> None:
    result = result_of(errands.good("none", runtimes=["tensorrt-ctypes", "trtexec"]))
    assert result["status"] == "runtime_missing"
    assert [one["path"] for one in result["details"]["tried"]] == ["tensorrt-ctypes", "trtexec"]


@pytest.mark.slow
def test_the_first_runtime_that_works_is_taken_and_the_others_are_named(clean: Home) -> None:
    result = result_of(errands.good("ladder", runtimes=["trtexec", "onnxruntime"]))
    assert result["status"] == "ok"
    assert result["runtime"]["path"] == "onnxruntime"
    assert [one["path"] for one in result["runtime"]["tried"]] == ["trtexec"]


# --- a worker that misbehaves


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("good", "ok"),
        ("prints", "ok"),
        ("floods", "ok"),
        ("leaves", "ok"),
        ("dies-loading", "runtime_missing"),
        ("dies-building", "build_failed"),
        ("exit-0", "device_lost"),
        ("exit-3", "device_lost"),
        ("raises", "device_lost"),
        ("remembers", "oom"),
        ("nan", "protocol_error"),
        ("odd", "protocol_error"),
        (f"signal-{signal.SIGSEGV:d}", "device_lost"),
        (f"signal-{signal.SIGKILL:d}", "oom"),
        (f"signal-{signal.SIGTERM:d}", "device_lost"),
        ("fault-unsupported-op", "unsupported_op"),
        ("fault-needs-reboot", "needs_reboot"),
        ("fault-sensor-bad", "sensor_bad"),
    ],
)
def test_every_end_of_a_worker_has_its_status(clean: Home, how: str, status: str) -> None:
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        result = run(connection, how)
        assert run(connection, "good", "after")["status"] == "ok"
    assert result["status"] == status
    assert bool(result["networks"]) is (status == "ok")
    assert bool(result["message"]) is (status != "ok")


def test_a_worker_that_ignores_every_signal_is_ended_with_what_it_started(clean: Home) -> None:
    result = misbehave("stubborn", limits={"run_s": 0.3})
    assert result["status"] == "timeout_run"


def test_the_last_words_of_a_dead_worker_are_kept(clean: Home) -> None:
    result = misbehave("raises")
    assert result["message"].endswith("ValueError: a bug of the worker")
    assert result["details"]["exit"] == 1


def test_the_same_id_is_measured_once(clean: Home) -> None:
    assert misbehave("good", "once") == misbehave("good", "once")
    assert clean.journal("begun") == ["once"]


@pytest.mark.parametrize(
    ("how", "repeats"), [("fault-unsupported-op", 1), ("exit-3", 2), ("fault-sensor-missing", 2)]
)
def test_what_the_world_did_is_tried_again_under_the_same_id(
    clean: Home, how: str, repeats: int
) -> None:
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        assert run(connection, how)["status"] == run(connection, how)["status"]
    assert len(clean.journal("begun")) == repeats


def test_a_host_that_cancels(clean: Home) -> None:
    errand = errands.good("cancelled", network_id="sleep-60000")
    interrupted = KeyboardInterrupt()

    def interrupt(_: dict[str, Any]) -> None:
        raise interrupted

    with connect(LOCAL, agent=MISBEHAVING) as connection:
        with pytest.raises(KeyboardInterrupt):
            connection.run(errand.spec, errand.blobs, interrupt)
        assert clean.journal("ended") == ["cancelled"]
        again = errands.good("cancelled", network_id="good")
        assert connection.run(again.spec, again.blobs)["status"] == "ok"


def test_a_host_that_falls_silent(clean: Home) -> None:
    errand = errands.good("lease", network_id="sleep-60000", limits={"lease_s": 0.5})
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        connection._send_missing(errand.blobs)
        connection._send({"type": "job", "spec": errand.spec})
        result = _await(connection, "result")["result"]  # and never a beat
    assert result["status"] == "cancelled"
    assert result["details"] == {"cause": "lease"}


@pytest.mark.realtime
def test_a_host_that_is_heard_may_take_its_time(clean: Home) -> None:
    # Three times the lease, and only beats hold it.
    assert misbehave("sleep-1500", limits={"lease_s": 0.5})["status"] == "ok"


@pytest.mark.slow
def test_two_hosts_at_once(clean: Home) -> None:
    long = errands.good("long", network_id="sleep-60000")
    other = errands.good("other", network_id="good")
    accepted = threading.Event()

    def run_long() -> None:
        with connect(LOCAL, agent=MISBEHAVING) as connection, pytest.raises(SystemExit):
            connection.run(long.spec, long.blobs, stop_when_told)

    def stop_when_told(_: dict[str, Any]) -> None:
        accepted.set()
        if told.is_set():
            raise SystemExit

    told = threading.Event()
    first = threading.Thread(target=run_long)
    first.start()
    assert accepted.wait(60)
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        with pytest.raises(DeviceFault) as busy:
            connection.run(other.spec, other.blobs)
        assert busy.value.status == "device_busy"
        assert busy.value.details["owner"]["id"] == "long"
        assert busy.value.details["owner"]["host"] == "this machine"
        told.set()
        first.join()
        assert connection.run(other.spec, other.blobs)["status"] == "ok"


def test_two_hosts_with_the_same_job_get_one_result(clean: Home) -> None:
    errand = errands.good("shared", network_id="sleep-700")
    results: list[dict[str, Any]] = []

    def ask() -> None:
        with connect(LOCAL, agent=MISBEHAVING) as connection:
            results.append(connection.run(errand.spec, errand.blobs))

    hosts = [threading.Thread(target=ask) for _ in range(3)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    assert results[0]["status"] == "ok"
    assert results == [results[0]] * 3
    assert clean.journal("begun") == ["shared"]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_agent_that_is_killed(clean: Home, number: signal.Signals) -> None:
    errand = errands.good("killed", network_id="sleep-60000")

    def kill(_: dict[str, Any]) -> None:
        os.kill(pid, number)

    with connect(LOCAL, agent=MISBEHAVING) as connection:
        pid = connection.hello["pid"]
        with pytest.raises(DeviceFault) as lost:
            connection.run(errand.spec, errand.blobs, kill)
    assert lost.value.status == "device_lost"
    again = errands.good("killed", network_id="good")
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        assert connection.hello["interrupted"] in ("killed", None)  # its worker may hold the lock
        assert connection.run(again.spec, again.blobs)["status"] == "ok"
    assert clean.journal("interrupted") == ["killed"]


def test_an_agent_that_is_killed_takes_its_worker_along(clean: Home) -> None:
    errand = errands.good("killed", network_id="stubborn")

    def kill(header: dict[str, Any]) -> None:
        if header["phase"] == "latency":  # from now on the worker says nothing
            os.kill(pid, signal.SIGKILL)

    with connect(LOCAL, agent=MISBEHAVING) as connection:
        pid = connection.hello["pid"]
        with pytest.raises(DeviceFault):
            connection.run(errand.spec, errand.blobs, kill)
    deadline = time.monotonic() + 60
    while clean.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert clean.processes() == []  # and no other session was there to end it
    assert misbehave("good", "after")["status"] == "ok"


@pytest.mark.slow
def test_a_cancellation_that_came_too_late_is_not_for_the_next_run(clean: Home) -> None:
    misbehave("good", "earlier")
    (clean.path / "requests" / "job").write_text('{"heard_s": 1e18, "cancel": true}')
    assert misbehave("good")["status"] == "ok"


def test_a_worker_that_cannot_be_ended(clean: Home) -> None:
    # One whose guard is stopped; in earnest it hangs in the kernel.
    worker = (
        b"import os, signal, time\n"
        b"def work(spec, runtime, spool, send):\n"
        b"    os.kill(os.getppid(), signal.SIGSTOP)\n"
        b"    send({'type': 'progress', 'phase': 'latency', 'done': 0, 'total': 1})\n"
        b"    time.sleep(600)\n"
    )
    stuck = (f"{SESSION}child.py", "STUCK_S = 10.0", "STUCK_S = 0.5")
    errand = errands.good("stuck", limits={"run_s": 0.3})
    with connect(LOCAL, agent=altered(IMPATIENT, stuck, work=worker)) as connection:
        result = connection.run(errand.spec, errand.blobs)
        for pid, command in clean.processes():
            if " work " in command:
                os.kill(pid, signal.SIGKILL)
    assert result["status"] == "needs_reboot"
    assert "restart the board" in result["message"]


def test_a_board_that_was_restarted_says_so(clean: Home) -> None:
    misbehave("good", "earlier")
    (clean.path / "lock").write_text(
        '{"id": "cut", "pid": 1, "start": 1, "boot_id": "another", "host": "h", "worker": null}'
    )
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        assert connection.hello["interrupted"] == "cut"
    assert '"cause": "restarted"' in (clean.path / "journal").read_text()


def test_room_for_a_result_that_runs_out(clean: Home) -> None:
    with connect(LOCAL, agent=MISBEHAVING) as connection:
        limit = 1 << 20  # of any file: as a quota has it
        resource.prlimit(connection.hello["pid"], resource.RLIMIT_FSIZE, (limit, limit))
        errand = errands.good("full", network_id="writes-2")
        result = connection.run(errand.spec, errand.blobs)
        small = errands.good("full", network_id="good")
        assert connection.run(small.spec, small.blobs)["status"] == "ok"
    assert result["status"] == "build_failed"
    assert result["details"] == {"cause": "disk"}


def _await(connection: Connection, kind: str) -> dict[str, Any]:
    while True:
        frame = connection._link.receive(20.0)
        assert frame is not None, f"{kind} must come"
        if frame[0]["type"] == kind:
            return frame[0]
