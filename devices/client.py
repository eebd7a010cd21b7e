"""A conversation with the agent of a device, as Python calls.

with connect(device) as connection:
    result = connection.run(spec, blobs)
    times = connection.blob(result["networks"][0]["times"]["blob"])
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gensynth.devices import package
from gensynth.devices.agent.wire.frames import Frame
from gensynth.devices.agent.wire.spec import MAX_SECONDS
from gensynth.devices.agent.wire.status import Fault, fault_from
from gensynth.devices.answers import ANSWERS, FAULT, HELLO, OUTCOME, TOLD
from gensynth.devices.link import START_S, Link
from gensynth.devices.package import Agent
from gensynth.devices.protocol import (
    ANSWER_S,
    AROUND_S,
    BEAT_S,
    EXPECTED_TIMES,
    PART,
    PATIENCE_S,
    PROTOCOL,
    SILENCE_S,
    survey_s,
)
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from gensynth.outside import Form

_CANCEL_S = 5.0
MOST_S = 2 * MAX_SECONDS + AROUND_S
"""Of a job, whatever its board foretells: building and running have their limits each."""


class Connection:
    """A session with an agent.

    Attributes:
        hello: what the agent said of itself and its board.
        pid: of the process on this machine that leads there.
    """

    def __init__(self, link: Link, device: Device, agent: Agent) -> None:
        self._link = link
        self._device = device
        self.pid = link.pid
        self.hello = self._ask({"type": "hello", "protocol": PROTOCOL, "agent": agent.sha256})
        if (self.hello.get("protocol"), self.hello.get("agent")) != (PROTOCOL, agent.sha256):
            raise DeviceFault(
                "version_mismatch",
                f"{device.alias} must run the agent {agent.sha256:.12} that was sent, got "
                f"{self.hello.get('agent')!r:.20}; clear the agent's folder there",
            )
        self._formed(HELLO, self.hello, "a hello")
        self._require_board(self.hello["facts"]["serial_hash"])

    def run(
        self,
        spec: Mapping[str, Any],
        blobs: Mapping[str, bytes | Path],
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Return the result of a job; the same id is measured once, however often it is asked.

        Args:
            spec: as `gensynth.devices.agent.wire.spec` has it.
            blobs: every blob that the job needs, by sha256; sent if it is not there.
            on_progress: called with the fields of each message of progress.

        Raises:
            DeviceFault: if the job could not begin, or the device is gone; the job itself may
                go on there, and the same call on a new connection yields its result.
        """
        self._send_missing(blobs)
        self._send({"type": "job", "spec": dict(spec)})
        try:
            return self._await_result(spec, on_progress)
        except DeviceFault:
            raise
        except BaseException:  # Ctrl-C above all: nobody wants the result any more
            self._cancel(spec["id"])
            raise

    def blob(self, sha256: str, at_most: int = 64 << 20) -> bytes:
        """Return what a job made.

        Args:
            at_most: bytes that it can have; of more, none is fetched.

        Raises:
            DeviceFault: if it is not there any more, is larger, or arrives damaged or piecemeal.
        """
        content = bytearray()
        while True:
            request = {"type": "get", "blob": sha256, "offset": len(content)}
            header, part = self._request(request, SILENCE_S)
            size = max(header["size"], len(content) + len(part))
            if size > at_most:
                raise self._odd(f"{size:,} bytes of {sha256:.12}, which has at most {at_most:,}")
            content += part
            if not part or len(content) == size:
                break
            if len(part) < PART:  # so that what it has at most bounds how often it is asked
                raise self._odd(f"{len(part):,} bytes of {sha256:.12} where {PART:,} were to come")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DeviceFault("protocol_error", f"{self._device.alias} sent a damaged {sha256:.12}")
        return bytes(content)

    def facts(self) -> dict[str, Any]:
        """Return the board's facts as they are now."""
        return self._ask({"type": "facts"})["facts"]

    def beat(self) -> None:
        """Let the agent hear that its host is there, between two jobs.

        Raises:
            DeviceFault: if the way there has ended.
        """
        self._send({"type": "beat"})

    def check_alive(self) -> None:
        """See that the agent still answers.

        Raises:
            DeviceFault: if it does not.
        """
        self._ask({"type": "have", "sha256s": []})

    def check(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return what works on the board, and why the rest does not; may take a minute.

        Args:
            patience_s: that each runtime may take to open.
        """
        question = {"type": "check", "patience_s": patience_s}
        header, _ = self._request(question, survey_s(patience_s) + SILENCE_S)
        return header["report"]

    def _require_board(self, serial: object) -> None:
        """Refuse a board that only has the address, and perhaps the copied image, of ours."""
        known = self._device.serial
        if known is not None and serial is not None and serial != known:
            alias = self._device.alias
            raise DeviceFault(
                "host_key_changed",
                f"{alias} must be the board that was registered, whose serial number hashes to "
                f"{known}; another board or a new system answers, {serial}. Where that is meant: "
                f"gensynth devices remove {alias}, then add it again",
                {"registered": known, "answers": serial},
            )

    def _send_missing(self, blobs: Mapping[str, bytes | Path]) -> None:
        missing = self._ask({"type": "have", "sha256s": sorted(blobs)})["sha256s"]
        for sha256 in sorted(blobs.keys() & set(map(str, missing))):
            content = blobs[sha256]
            if isinstance(content, Path):
                content = content.read_bytes()
            for offset in range(0, max(1, len(content)), PART):
                part = content[offset : offset + PART]
                header = {"type": "put", "blob": sha256, "size": len(content), "offset": offset}
                self._request(header, SILENCE_S, part)

    def _await_result(
        self, spec: Mapping[str, Any], on_progress: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        limits = spec["limits"]
        beat_s = min(BEAT_S, limits["lease_s"] / 4)
        patience_s = limits["build_s"] + limits["run_s"] + AROUND_S
        heard_s = beaten_s = began_s = time.monotonic()
        is_accepted = False
        while True:
            now_s = time.monotonic()
            # Another session's job comes first, and ours may be all that it has.
            if now_s - began_s > patience_s:
                raise self._silent(patience_s, "no result")
            if now_s - beaten_s >= beat_s:
                self._send({"type": "beat"})
                beaten_s = now_s
            wake_s = min(beaten_s + beat_s, heard_s + SILENCE_S)
            frame = self._link.receive(max(0.0, wake_s - now_s))
            if frame is None:
                if time.monotonic() - heard_s >= SILENCE_S:
                    raise self._silent(SILENCE_S)
                continue
            heard_s = time.monotonic()
            header = frame[0]
            if header["type"] == "result":
                return self._checked(header.get("result"), spec["id"])
            if header["type"] == "fault":
                raise _device_fault(header)
            if header["type"] == "accepted" and not is_accepted:
                is_accepted, began_s = True, heard_s
            if header["type"] == "progress":
                told = self._formed(TOLD, header, "a word on its progress")
                # A slow board gives itself three times what its first runs foretell.
                more_s = EXPECTED_TIMES * told.get("expected_s", 0.0) + AROUND_S
                patience_s = max(patience_s, min(heard_s - began_s + more_s, MOST_S))
                if on_progress is not None:
                    on_progress({key: value for key, value in told.items() if key != "type"})

    def _checked(self, result: Any, job_id: str) -> dict[str, Any]:
        formed: dict[str, Any] = self._formed(OUTCOME, result, f"a result of {job_id}")
        if formed["id"] != job_id:
            raise self._odd(f"the result of {formed['id']:.64}, not of {job_id}")
        return formed

    def _formed(self, form: Form[Any], values: Any, what: str) -> Any:
        """Return what the board sent, once it is seen to have its form."""
        try:
            form.check(values)
        except ValueError as error:
            raise self._odd(f"{what} that cannot be read: {error}") from error
        return values

    def _cancel(self, job_id: str) -> None:
        """Ask for the job's end and wait for it a little; the board ends it in any case."""
        with contextlib.suppress(DeviceFault):
            self._send({"type": "cancel", "id": job_id})
            deadline_s = time.monotonic() + _CANCEL_S
            while (left_s := deadline_s - time.monotonic()) > 0:
                frame = self._link.receive(left_s)
                if frame is not None and frame[0]["type"] in ("result", "fault"):
                    return

    def _ask(self, header: dict[str, Any]) -> dict[str, Any]:
        return self._request(header, SILENCE_S)[0]

    def _request(self, header: dict[str, Any], limit_s: float, payload: bytes = b"") -> Frame:
        """Return the answer to a message; a board that only says that it lives has not answered."""
        self._send(header, payload)
        deadline_s = time.monotonic() + max(limit_s, ANSWER_S)
        while True:
            frame = self._link.receive(min(limit_s, max(0.0, deadline_s - time.monotonic())))
            if frame is None or time.monotonic() > deadline_s:
                raise self._silent(limit_s)
            if frame[0]["type"] == "fault":
                raise _device_fault(frame[0])
            if frame[0]["type"] != "beat":
                break
        wanted, form = ANSWERS[header["type"]]
        if frame[0]["type"] != wanted:
            raise self._odd(f"{frame[0]['type']!r:.80} as answer to {header['type']!r}")
        self._formed(form, frame[0], f"an answer to {header['type']!r}")
        return frame

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self._link.channel.send(header, payload)
        except Fault as fault:
            raise self._link.explain(fault) from fault

    def _odd(self, what: str) -> DeviceFault:
        return self._link.explain(Fault("protocol_error", f"{self._device.alias} sent {what}"))

    def _silent(self, limit_s: float, what: str = "nothing") -> DeviceFault:
        silence = Fault("device_lost", f"{what} came for {limit_s:g} s")
        return self._link.explain(silence)


@contextlib.contextmanager
def connect(
    device: Device,
    *,
    timeout_s: float = 10.0,
    start_s: float = START_S,
    agent: Agent | None = None,
) -> Iterator[Connection]:
    """Start a device's agent and talk to it.

    Args:
        timeout_s: for the connection.
        start_s: from there until Python runs on the device.
        agent: instead of this version's own.

    Raises:
        DeviceFault: saying what to do.
    """
    agent = package.agent() if agent is None else agent
    link = Link(device, agent, timeout_s=timeout_s, start_s=start_s)
    try:
        yield Connection(link, device, agent)
    finally:
        link.close()


def _device_fault(header: dict[str, Any]) -> DeviceFault:
    try:
        FAULT.check(header)
    except ValueError as error:
        return DeviceFault("protocol_error", f"the board sent a fault that cannot be read: {error}")
    fault = fault_from(header)
    return DeviceFault(fault.status, fault.message, fault.details)
