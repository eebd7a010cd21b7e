"""What a host believes of what answers it, with a link that says what a test wants."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices import client, package
from gensynth.devices.agent.wire.frames import Frame
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.client import Connection
from gensynth.devices.protocol import PROTOCOL
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from tests.fakes.agent_results import FACTS

AGENT = package.agent()
LIMITS = {"build_s": 0.0, "run_s": 0.0, "lease_s": 1.0}
Answer = Callable[[dict[str, Any]], Frame | None]


class Told:
    """In place of a link: keeps what is sent, and gives what a test wants."""

    pid = 1

    def __init__(self, answer: Answer) -> None:
        self.channel = self
        self.sent: list[dict[str, Any]] = []
        self._answer = answer

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.sent.append(header)

    def receive(self, timeout_s: float) -> Frame | None:
        return self._answer(self.sent[-1])

    def explain(self, fault: Fault) -> DeviceFault:
        return DeviceFault(fault.status, fault.message, fault.details)


def hello(**changes: Any) -> Frame:
    facts = {**FACTS, **changes.pop("facts", {})}
    header = {
        "type": "hello", "protocol": PROTOCOL, "agent": AGENT.sha256, "python": "3.6.9", "pid": 7,
        "facts": facts, "home_free_mib": 100, "interrupted": None, **changes,
    }  # fmt: skip
    return header, b""


def connected(answer: Answer, serial: str | None = None) -> Connection:
    def first(header: dict[str, Any]) -> Frame | None:
        return hello() if header["type"] == "hello" else answer(header)

    device = Device("board", "user@board", serial=serial)
    return Connection(Told(first), device, AGENT)  # type: ignore[arg-type]


def never(header: dict[str, Any]) -> Frame:
    raise AssertionError(f"nothing should be asked, got {header}")


def test_a_board_with_another_serial_is_refused() -> None:
    connected(never, serial=str(FACTS["serial_hash"]))
    connected(never, serial=None)  # none was told when it was registered
    with pytest.raises(DeviceFault, match="another board or a new system answers") as refused:
        connected(never, serial="f" * 16)
    assert refused.value.status == "host_key_changed"
    assert refused.value.details == {"registered": "f" * 16, "answers": FACTS["serial_hash"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"facts": {"load": ["high"]}}, "facts.load"),
        ({"facts": {"temperatures_c": {"cpu": 1e999}}}, "facts.temperatures_c.cpu"),
        ({"home_free_mib": "much"}, "home_free_mib"),
        ({"facts": {"power_mode": 0}}, "facts.power_mode"),
    ],
)
def test_what_a_board_says_of_itself_has_its_form(changes: dict[str, Any], said: str) -> None:
    link = Told(lambda header: hello(**changes))
    with pytest.raises(DeviceFault, match="cannot be read") as refused:
        Connection(link, Device("board", "user@board"), AGENT)  # type: ignore[arg-type]
    assert refused.value.status == "protocol_error"
    assert said in refused.value.message


def test_a_blob_that_is_larger_than_it_can_be_is_not_fetched() -> None:
    asked = 0

    def large(header: dict[str, Any]) -> Frame:
        nonlocal asked
        asked += 1
        return {"type": "blob", "blob": header["blob"], "size": 3 << 30}, b"x" * 1000

    with pytest.raises(DeviceFault, match="3,221,225,472 bytes of .*, which has at most 24,000"):
        connected(large).blob("a" * 64, 24_000)
    assert asked == 1


def test_a_blob_that_is_longer_than_it_says_is_not_fetched_to_its_end() -> None:
    def longer(header: dict[str, Any]) -> Frame:
        return {"type": "blob", "blob": header["blob"], "size": 10}, b"x" * 1000

    with pytest.raises(DeviceFault, match="at most 10"):
        connected(longer).blob("a" * 64, 10)


def test_a_blob_does_not_come_byte_by_byte() -> None:
    asked = 0

    def drops(header: dict[str, Any]) -> Frame:
        nonlocal asked
        asked += 1
        return {"type": "blob", "blob": header["blob"], "size": 24_000}, b"x"

    with pytest.raises(DeviceFault, match="1 bytes of aaaaaaaaaaaa where 1,048,576 were to come"):
        connected(drops).blob("a" * 64, 24_000)
    assert asked == 1


def test_a_blob_of_the_right_size_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PART", 1000)
    content = bytes(range(256)) * 10
    sha256 = hashlib.sha256(content).hexdigest()

    def parts(header: dict[str, Any]) -> Frame:
        part = content[header["offset"] :][:1000]
        return {"type": "blob", "blob": sha256, "size": len(content)}, part

    assert connected(parts).blob(sha256, len(content)) == content


def test_a_board_that_only_says_that_it_lives_has_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)
    monkeypatch.setattr(client, "SILENCE_S", 0.05)
    with pytest.raises(DeviceFault, match="nothing came") as lost:
        connected(lambda header: ({"type": "beat"}, b"")).facts()
    assert lost.value.status == "device_lost"


def test_a_job_that_only_beats_is_given_up_after_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "AROUND_S", 0.05)

    def beating(header: dict[str, Any]) -> Frame:
        if header["type"] == "have":
            return {"type": "missing", "sha256s": []}, b""
        return {"type": "beat"}, b""

    with pytest.raises(DeviceFault, match="no result came"):
        connected(beating).run({"id": "job-1", "limits": LIMITS}, {})


@pytest.mark.parametrize(
    "said", [{"type": "accepted"}, {"type": "progress", "phase": "rounds", "expected_s": 86_400}]
)
def test_a_job_that_is_put_off_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    monkeypatch.setattr(client, "AROUND_S", 0.05)
    monkeypatch.setattr(client, "MOST_S", 0.1)

    def again(header: dict[str, Any]) -> Frame:
        if header["type"] == "have":
            return {"type": "missing", "sha256s": []}, b""
        return dict(said), b""

    with pytest.raises(DeviceFault, match="no result came"):
        connected(again).run({"id": "job-1", "limits": LIMITS}, {})


def test_a_result_without_its_form_is_a_protocol_error(tmp_path: Path) -> None:
    def odd(header: dict[str, Any]) -> Frame:
        if header["type"] == "have":
            return {"type": "missing", "sha256s": []}, b""
        return {"type": "result", "result": {"id": "job-1", "status": "ok", "flags": 7}}, b""

    with pytest.raises(DeviceFault, match="a result of job-1 that cannot be read") as refused:
        connected(odd).run({"id": "job-1", "limits": LIMITS}, {})
    assert refused.value.status == "protocol_error"


def test_a_fault_without_its_form_is_a_protocol_error() -> None:
    fault = {"type": "fault", "status": "device_busy", "message": "m", "details": {"owner": "me"}}
    with pytest.raises(DeviceFault, match="a fault that cannot be read") as refused:
        connected(lambda header: (fault, b"")).facts()
    assert refused.value.status == "protocol_error"
