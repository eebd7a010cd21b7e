"""A host or a board that is suddenly gone, in each phase: a typed end, and a clean board.

Between them is a real ssh through a cable that is cut, or pulled. The worker is one that takes
as long as it is told.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gensynth.devices import client
from gensynth.devices.client import connect
from gensynth.devices.protocol import SILENCE_S
from gensynth.errors import DeviceFault
from tests.fakes.board import MISBEHAVING, Board
from tests.onnx_files import errands
from tests.onnx_files.errands import Errand
from tests.places import ROOT

MIB = 1 << 20
Progress = Callable[[dict[str, Any]], None]


def ask(board: Board, errand: Errand, on_progress: Progress | None = None) -> dict[str, Any]:
    """The result of a job on the board."""
    with connect(board.device, agent=MISBEHAVING) as connection:
        return connection.run(errand.spec, errand.blobs, on_progress)


def lost(board: Board, errand: Errand, on_progress: Progress | None = None) -> DeviceFault:
    """What the host is told when the board is gone."""
    with pytest.raises(DeviceFault) as fault:
        ask(board, errand, on_progress)
    return fault.value


def wait_for(what: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize(
    "up", [100, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 50_000))]
)
def test_cut_while_connecting_or_while_the_agent_is_pushed(board: Board, up: int) -> None:
    errand = errands.good("job")
    board.relay.cut_after(up=up)
    assert lost(board, errand).status == "device_lost"
    assert list(board.path.glob("agent-*")) == []
    assert ask(board, errand)["status"] == "ok"
    assert board.leftovers() == []


@pytest.mark.slow
def test_cut_while_a_blob_goes_up(board: Board) -> None:
    errand = errands.good("job")
    blob = os.urandom(4 * MIB)
    with connect(board.device, agent=MISBEHAVING) as connection:
        board.relay.cut_after(up=2 * MIB)
        with pytest.raises(DeviceFault) as fault:
            connection.run(errand.spec, errand.blobs | {errands.sha256(blob): blob})
    assert fault.value.status == "device_lost"
    assert board.leftovers() == []
    assert not (board.path / "blobs" / errands.sha256(blob)).exists()
    assert ask(board, errand)["status"] == "ok"


def test_cut_while_a_job_runs(board: Board) -> None:
    errand = errands.good("job", network_id="sleep-1500")
    assert lost(board, errand, lambda _: board.relay.cut()).status == "device_lost"
    assert ask(board, errand)["status"] == "ok"  # of the run that went on
    assert board.journal("begun") == ["job"]
    assert board.leftovers() == []


@pytest.mark.realtime
@pytest.mark.slow
def test_a_host_that_comes_back_holds_the_job_that_went_on(board: Board) -> None:
    # Longer than the lease of the connection that was cut.
    errand = errands.good("job", network_id="sleep-3500", limits={"lease_s": 2.5})
    assert lost(board, errand, lambda _: board.relay.cut()).status == "device_lost"
    assert ask(board, errand)["status"] == "ok"
    assert board.journal("begun") == ["job"]
    assert board.leftovers() == []


def test_a_host_that_comes_back_can_cancel_the_job_that_went_on(board: Board) -> None:
    errand = errands.good("job", network_id="sleep-60000")
    assert lost(board, errand, lambda _: board.relay.cut()).status == "device_lost"
    with connect(board.device, agent=MISBEHAVING) as connection:
        connection._send({"type": "job", "spec": errand.spec})
        while (frame := connection._link.receive(20.0)) and frame[0]["type"] != "waiting":
            pass
        connection._send({"type": "cancel", "id": "job"})
        wait_for(lambda: board.journal("ended"))
    assert board.leftovers() == []


def test_cut_before_the_result_arrives(board: Board) -> None:
    errand = errands.good("job", network_id="sleep-100")

    def keep_the_result_back(_: dict[str, Any]) -> None:
        board.relay.unplug()
        wait_for(lambda: board.journal("ended"))
        board.relay.cut()
        board.relay.plug_in()

    assert lost(board, errand, keep_the_result_back).status == "device_lost"
    assert ask(board, errand)["status"] == "ok"
    assert board.journal("begun") == ["job"]
    assert board.leftovers() == []


def test_cut_while_a_result_comes_down(board: Board) -> None:
    errand = errands.good("job", network_id="writes-4")
    with connect(board.device, agent=MISBEHAVING) as connection:
        result = connection.run(errand.spec, errand.blobs)
        board.relay.cut_after(down=2 * MIB)
        with pytest.raises(DeviceFault) as fault:
            connection.blob(errands.sha256(b"x" * 4 * MIB))
    assert fault.value.status == "device_lost"
    with connect(board.device, agent=MISBEHAVING) as connection:
        assert connection.run(errand.spec, errand.blobs) == result
        assert connection.blob(errands.sha256(b"x" * 4 * MIB)) == b"x" * 4 * MIB
    assert board.journal("begun") == ["job"]
    assert board.leftovers() == []


@pytest.mark.realtime
@pytest.mark.parametrize("silence_s", [1.0, pytest.param(SILENCE_S, marks=pytest.mark.slow)])
def test_a_cable_that_is_pulled(
    board: Board, monkeypatch: pytest.MonkeyPatch, silence_s: float
) -> None:
    errand = errands.good("job", network_id="sleep-60000", limits={"lease_s": 1.0})
    start_s = time.monotonic()
    ask(board, errands.good("before"))
    usual_s = time.monotonic() - start_s
    silence_s = max(silence_s, 2 * usual_s)  # what connecting may take where others are at work
    monkeypatch.setattr(client, "SILENCE_S", silence_s)
    pulled_s = 0.0

    def pull(_: dict[str, Any]) -> None:
        nonlocal pulled_s
        if not pulled_s:
            board.relay.unplug()
            pulled_s = time.monotonic()

    assert lost(board, errand, pull).status == "device_lost"
    assert time.monotonic() - pulled_s < silence_s + 10 * usual_s
    wait_for(lambda: board.journal("ended"))  # by its lease, still unplugged
    board.relay.plug_in()
    assert board.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleep-60000", "stubborn"])
def test_a_board_that_loses_its_power(board: Board, how: str) -> None:
    errand = errands.good("job", network_id=how)

    def kill_all() -> bool:
        alive = board.processes(over_there=True)
        for pid, _ in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(alive)

    def power_off(header: dict[str, Any]) -> None:
        while header["phase"] == "latency" and kill_all():
            pass

    assert lost(board, errand, power_off).status == "device_lost"
    for _ in range(5):  # who was between fork and exec could not be seen
        kill_all()
        time.sleep(0.1)
    wait_for(lambda: not board.processes())
    with connect(board.device, agent=MISBEHAVING) as connection:
        assert connection.hello["interrupted"] == "job"
        again = errands.good("job")
        assert connection.run(again.spec, again.blobs)["status"] == "ok"
    assert board.leftovers() == []


# --- the host, as a process of its own

HOST = """
import json, sys
from gensynth.devices.client import connect
from gensynth.devices.registry import find
from tests.onnx_files import errands
from tests.fakes.board import MISBEHAVING

errand = errands.good("job", network_id="sleep-60000", limits={"lease_s": float(sys.argv[2])})
with connect(find(sys.argv[1]), agent=MISBEHAVING, timeout_s=60.0) as connection:
    result = connection.run(errand.spec, errand.blobs)
print(json.dumps(result["status"]), flush=True)
"""


def heed_signals() -> None:
    """Heed what a shell in the background (SIGINT) and nohup (SIGHUP) hand on as ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def host(board: Board, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A host whose job runs on the board, with a lease of a second if nothing else is asked."""
    command = [sys.executable, "-c", HOST, board.device.alias, str(getattr(request, "param", 1.0))]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=heed_signals,
    ) as process:  # fmt: skip
        wait_for(lambda: board.journal("begun"))
        yield process
        process.kill()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_a_host_that_is_killed(
    board: Board, host: subprocess.Popen[str], number: signal.Signals
) -> None:
    host.send_signal(number)
    host.wait()
    assert board.leftovers() == []
    assert board.journal("ended") == ["job"]
    assert '"status": "cancelled"' in (board.path / "journal").read_text()


@pytest.mark.parametrize("host", [60.0], indirect=True)
@pytest.mark.slow
def test_a_host_that_is_interrupted(board: Board, host: subprocess.Popen[str]) -> None:
    wait_for(lambda: (board.path / "lock").read_text().count("worker"))
    host.send_signal(signal.SIGINT)
    assert host.wait() != 0
    assert board.journal("ended") == ["job"]  # it waited for the end of the job
    assert board.leftovers() == []


@pytest.mark.parametrize("host", [60.0], indirect=True)
@pytest.mark.slow
def test_a_second_host_is_told_who_has_the_board(board: Board, host: subprocess.Popen[str]) -> None:
    busy = lost(board, errands.good("other"))
    assert busy.status == "device_busy"
    assert (busy.details["owner"]["id"], busy.details["owner"]["host"]) == ("job", "127.0.0.1")
    assert host.poll() is None  # it is not disturbed
    host.send_signal(signal.SIGINT)
    host.wait()
    assert ask(board, errands.good("other"))["status"] == "ok"
    assert board.leftovers() == []


@pytest.mark.slow
def test_a_host_that_sleeps_longer_than_its_lease(
    board: Board, host: subprocess.Popen[str]
) -> None:
    host.send_signal(signal.SIGSTOP)
    wait_for(lambda: board.journal("ended"))
    host.send_signal(signal.SIGCONT)
    assert host.communicate(timeout=60)[0] == '"cancelled"\n'
    assert board.leftovers() == []
