"""One session with a host: its messages, and their answers.

`gensynth.devices.protocol` lists the messages. A request that cannot be meant is answered
with a `fault` and the session goes on; a channel that carries something else, another
protocol's version, and a minute of silence end it.
"""

import hashlib
import os
import platform
import sys
from typing import Any, Callable, Dict, Optional

from gensynth.devices.agent.board import board, clocks
from gensynth.devices.agent.runtimes.installed import installed
from gensynth.devices.agent.session import job
from gensynth.devices.agent.session.child import ask
from gensynth.devices.agent.session.lock import BoardLock
from gensynth.devices.agent.wire.channel import Channel
from gensynth.devices.agent.wire.spec import (
    LEASE_S,
    PATIENCE_S,
    PROTOCOL,
    check_patience,
    check_sha256,
    check_spec,
    survey_s,
)
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.upload import BLOB_LIMIT, Upload

PART_LIMIT = 8 << 20
PART = 1 << 20
MAX_HASHES = 1024

Header = Dict[str, Any]


class Session:
    """A conversation with one host."""

    def __init__(self, host: Channel, spool: Spool, root: str) -> None:
        self._host = host
        self._spool = spool
        self._root = root
        self._upload: Optional[Upload] = None
        self._greeted = False
        self._interrupted: Optional[str] = None
        self._answers: Dict[str, Callable[[Header, bytes], None]] = {
            "hello": self._hello,
            "have": self._have,
            "put": self._put,
            "job": self._job,
            "get": self._get,
            "facts": self._facts,
            "check": self._check,
        }

    def run(self) -> None:
        """Answer until the host says goodbye or falls silent.

        Raises:
            Fault: what ends the session otherwise; `device_lost` if the host has closed.
        """
        self._interrupted = settle(self._spool, self._root)
        try:
            while True:
                frame = self._host.receive(LEASE_S)
                if frame is None or frame[0]["type"] == "bye":
                    return
                if frame[0]["type"] not in ("beat", "cancel"):  # late ones mean nothing
                    self._answer(*frame)
        finally:
            self._drop_upload()

    def _answer(self, header: Header, payload: bytes) -> None:
        kind = header["type"]
        if kind != "hello" and not self._greeted:
            raise Fault(
                "protocol_error", "the first message must be a hello, got {!r:.80}".format(kind)
            )
        try:
            if kind not in self._answers:
                raise Fault("protocol_error", "there is no message {!r:.80}".format(kind))
            self._answers[kind](header, payload)
        except Fault as fault:
            if fault.status in ("device_lost", "version_mismatch"):
                raise
            self._drop_upload()
            self._host.send(dict(fault.as_json(), type="fault"))

    def _hello(self, header: Header, payload: bytes) -> None:
        if header.get("protocol") != PROTOCOL:
            raise Fault(
                "version_mismatch",
                "host and agent must speak the same protocol; the host speaks {!r:.20}, the agent "
                "{}".format(header.get("protocol"), PROTOCOL),
            )
        self._greeted = True
        self._host.send(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "agent": _own_hash(),
                "python": platform.python_version(),
                "pid": os.getpid(),
                "facts": board.facts(self._root),
                "home_free_mib": int(self._spool.free_mib()),
                "interrupted": self._interrupted,
            }
        )

    def _have(self, header: Header, payload: bytes) -> None:
        hashes = header.get("sha256s")
        if not isinstance(hashes, list) or len(hashes) > MAX_HASHES:
            raise Fault("protocol_error", "sha256s must list at most {}".format(MAX_HASHES))
        missing = self._spool.missing([check_sha256(sha256) for sha256 in hashes])
        self._host.send({"type": "missing", "sha256s": missing})

    def _put(self, header: Header, payload: bytes) -> None:
        sha256 = check_sha256(header.get("blob"), "blob")
        if len(payload) > PART_LIMIT:
            raise Fault("protocol_error", "a part must have at most {} bytes".format(PART_LIMIT))
        if header.get("offset") == 0:
            self._drop_upload()
            self._upload = Upload(self._spool, sha256, header.get("size"))
        if self._upload is None or self._upload.sha256 != sha256:
            raise Fault("protocol_error", "a blob must be sent from its beginning")
        self._upload.add(header.get("offset"), payload)
        if self._upload.is_complete:
            self._upload.finish()
            self._upload = None
        self._host.send({"type": "stored", "blob": sha256})

    def _get(self, header: Header, payload: bytes) -> None:
        sha256 = check_sha256(header.get("blob"), "blob")
        offset: Any = header.get("offset")
        whole = isinstance(offset, int) and not isinstance(offset, bool)
        if not whole or not 0 <= offset <= BLOB_LIMIT:
            raise Fault(
                "protocol_error",
                "offset must be a whole number of at most {}, got {!r:.80}".format(
                    BLOB_LIMIT, offset
                ),
            )
        with self._spool.open_blob(sha256) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            part = file.read(PART)
        self._host.send({"type": "blob", "blob": sha256, "size": size, "offset": offset}, part)

    def _job(self, header: Header, payload: bytes) -> None:
        result = job.answer(check_spec(header.get("spec")), self._host, self._spool, self._root)
        self._host.send({"type": "result", "result": result})

    def _facts(self, header: Header, payload: bytes) -> None:
        facts = dict(board.facts(self._root), runtimes=installed(self._root))
        self._host.send({"type": "facts", "facts": facts})

    def _check(self, header: Header, payload: bytes) -> None:
        """Survey in a child: a broken runtime may kill the process that imports it."""
        patience_s = check_patience(header.get("patience_s", PATIENCE_S))
        question = {"type": "survey", "patience_s": patience_s}
        report = ask("survey", question, survey_s(patience_s))["report"]
        report.update(
            agent=_own_hash(),
            python=platform.python_version(),
            home_free_mib=int(self._spool.free_mib()),
            facts=board.facts(self._root),
        )
        self._host.send({"type": "check", "report": report})

    def _drop_upload(self) -> None:
        if self._upload is not None:
            self._upload.abandon()
            self._upload = None


def settle(spool: Spool, root: str) -> Optional[str]:
    """Tidy up what a session that was cut left; return the job it ran, if any.

    The clocks are only touched while no job runs, of no user.
    """
    spool.sweep()
    holding = BoardLock(spool, root, None)
    if holding.acquire() is not None:
        return None
    try:
        if clocks.is_pending(spool.home) and holding.claim() is None:
            clocks.restore_pending(spool.home, root)
        return holding.interrupted()
    finally:
        holding.release()


def _own_hash() -> str:
    with open(sys.argv[0], "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
