"""The roles that this file plays, one a process.

    serve             a session with a host; started by the link
    work LIFELINE     one job with one runtime
    survey LIFELINE   what works on this board

Messages go over the descriptors that were 0 and 1. Those numbers are given away before
anything else is imported, so that a library that prints cannot break a message.
"""

import contextlib
import os
import signal
import sys
from typing import IO, Any, Dict, Tuple

from gensynth.devices.agent.session.child import guard
from gensynth.devices.agent.wire import frames, processes
from gensynth.devices.agent.wire.status import Fault


def main() -> None:
    """Play the role that the first argument names."""
    role, arguments = sys.argv[1], sys.argv[2:]
    if role == "serve":
        _serve()
    elif role == "work":
        guard(int(arguments[0]))
        _work()
    elif role == "survey":
        guard(int(arguments[0]))
        _survey()
    else:
        raise SystemExit("the first argument must be a role, got {!r}".format(role))


def root() -> str:
    """Return the folder below which the board's own files are read."""
    return os.environ.get("GENSYNTH_AGENT_ROOT") or "/"


def claim_channel() -> Tuple[int, int]:
    """Return new descriptors for what were 0 and 1, which become silence and the errors."""
    source, sink = os.dup(0), os.dup(1)
    silence = os.open(os.devnull, os.O_RDONLY)
    os.dup2(silence, 0)
    os.close(silence)
    os.dup2(2, 1)
    return source, sink


def _serve() -> None:
    source, sink = claim_channel()
    from gensynth.devices.agent.session.serve import Session
    from gensynth.devices.agent.wire.bootstrap import default_home
    from gensynth.devices.agent.wire.channel import Channel
    from gensynth.devices.agent.wire.spool import Spool

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost connection ends no job
    signal.signal(signal.SIGTERM, stop)
    host = Channel(source, sink)
    try:
        Session(host, Spool(default_home()), root()).run()
    except Fault as fault:
        with contextlib.suppress(Fault):  # nobody may be there to be told
            host.send(dict(fault.as_json(), type="fault"))


def _work() -> None:
    answers, question = _open_channel()
    from gensynth.devices.agent.measuring.work import work
    from gensynth.devices.agent.wire.bootstrap import default_home
    from gensynth.devices.agent.wire.spool import Spool

    def send(header: Dict[str, Any]) -> None:
        frames.write(answers, header)

    try:
        spool = Spool(default_home())
        result = work(question["spec"], question["runtime"], spool, send)
        send({"type": "result", "result": result})
    except Fault as fault:
        send(dict(fault.as_json(), type="fault"))


def _survey() -> None:
    answers, question = _open_channel()
    from gensynth.devices.agent.board import clocks
    from gensynth.devices.agent.power import meters
    from gensynth.devices.agent.runtimes import runtimes

    report = {
        "runtimes": runtimes.survey(patience_s=question["patience_s"]),
        "power": meters.survey(root()),
        "clocks": clocks.survey(root()),
    }
    frames.write(answers, {"type": "survey", "report": report})


def _open_channel() -> Tuple[IO[bytes], Dict[str, Any]]:
    """Return the stream for answers, and the question; what is installed can be imported now."""
    processes.search_further()
    source, sink = claim_channel()
    answers = os.fdopen(sink, "wb")
    frames.write(answers, {"type": "started", "pid": os.getpid()})
    with os.fdopen(source, "rb") as questions:
        return answers, frames.read(questions)[0]
