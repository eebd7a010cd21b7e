"""A process for one piece of work, which can be ended whatever it does.

    session --- guard --- worker --- whatever the worker starts
                          `--------- one process group --------'

The guard is forked before anything large is imported. It waits for two things: the worker's
end, and the end of a pipe that only the session holds. When the session closes that pipe, or
is killed, the guard ends the worker's whole group (TERM, and KILL after 2 s), so nothing
outlives the session. It exits as the worker did, which the session turns into a status.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from gensynth.devices.agent.session.compiled import compiled
from gensynth.devices.agent.wire import frames, processes
from gensynth.devices.agent.wire.channel import Channel, Tail, wait_readable
from gensynth.devices.agent.wire.status import Fault, fault_from

GRACE_S = 2.0
LAST_WORDS_S = 2.0  # from the end of its channel to its own
STUCK_S = 10.0  # a process that KILL does not end within this hangs in the kernel
_OUT_OF_MEMORY = re.compile(
    r"bad.alloc|MemoryError|out of memory|OutOfMemory|(cannot|failed to) allocate memory"
    r"|cudaErrorMemoryAllocation|Killed",
    re.IGNORECASE,
)


class Child:
    """A worker and its guard.

    Attributes:
        channel: messages to and from the worker.
    """

    def __init__(
        self, role: str, question: Dict[str, Any], inherited: Tuple[int, ...] = ()
    ) -> None:
        """Start a process that plays a role of `main`, and send it its first message.

        Args:
            inherited: descriptors that stay open in the worker, such as the board's lock.

        Raises:
            Fault: `oom` if the system has no room for a process.
        """
        lifeline, self._lifeline = os.pipe()
        source, worker_sink = os.pipe()
        worker_source, sink = os.pipe()
        errors, worker_errors = os.pipe()
        try:
            self._process = subprocess.Popen(
                processes.interpreter() + [compiled(sys.argv[0]), role, str(lifeline)],
                stdin=worker_source,
                stdout=worker_sink,
                stderr=worker_errors,
                pass_fds=(lifeline,) + inherited,
                start_new_session=True,
            )
        except OSError as error:
            for descriptor in (self._lifeline, source, sink, errors):
                os.close(descriptor)
            raise Fault("oom", "no process could be started: {}".format(error)) from error
        finally:
            for descriptor in (lifeline, worker_source, worker_sink, worker_errors):
                os.close(descriptor)
        self.channel = Channel(source, sink)
        self._tail = Tail(errors)
        try:
            self.channel.send(question)
        except Fault as fault:
            if fault.status != "device_lost":  # if it is gone, `receive` knows why
                self.close()
                raise

    def receive(self, also: List[int], timeout_s: float) -> Optional[frames.Frame]:
        """Return the worker's next message, or None if time is up or `also` can be read.

        Raises:
            Fault: what the worker sent as one, what its end means, or `protocol_error`.
        """
        if not self.channel.has_message:
            watched = [self.channel.source] + also
            if self._tail.is_open:
                watched.append(self._tail.source)
            ready = wait_readable(watched, timeout_s)
            self._tail.pump()
            if self.channel.source not in ready:
                return None
        try:
            frame = self.channel.receive(0.0)
        except Fault as fault:
            if fault.status != "device_lost":
                raise
            raise self._end() from fault
        if frame is not None and frame[0]["type"] == "fault":
            raise fault_from(frame[0])
        return frame

    def finish(self) -> None:
        """Give a worker that has answered the time to end by itself."""
        self._wait(STUCK_S)

    def close(self) -> None:
        """End the worker and all that it started.

        Raises:
            Fault: `needs_reboot` if the kernel does not let it end.
        """
        os.close(self._lifeline)
        self.channel.close()
        code = self._wait(GRACE_S + STUCK_S)
        os.close(self._tail.source)
        if code is None:
            raise Fault(
                "needs_reboot",
                "the worker did not end within {:g} s of being killed; it hangs in the kernel, "
                "restart the board".format(STUCK_S),
            )

    def _wait(self, timeout_s: float) -> Optional[int]:
        """Return the guard's exit code, or None if it goes on; it closes the tail last."""
        deadline = time.monotonic() + timeout_s
        while self._tail.is_open and wait_readable(
            [self._tail.source], deadline - time.monotonic()
        ):
            self._tail.pump()
        if self._tail.is_open:
            return self._process.poll()
        return self._process.wait()

    def _end(self) -> Fault:
        """Return what it means that the worker closed its channel."""
        code = self._wait(LAST_WORDS_S)
        if code is None:
            return Fault("protocol_error", "the worker closed its channel and went on")
        return cause(code, self._tail.text())


def cause(code: int, text: str) -> Fault:
    """Return the fault that a worker's exit code and last words mean.

    Args:
        code: of the guard, so 128 and the signal's number for a worker that was killed.
        text: the end of what it wrote to its standard error.
    """
    details = {"exit": code, "stderr": text[-4000:]}
    last = text.splitlines()[-1][-300:] if text else "it wrote nothing"
    if code in (137, -9) or (code != 0 and _OUT_OF_MEMORY.search(text)):
        return Fault(
            "oom",
            "memory ran out (exit code {}: {}); take a smaller batch, network or workspace".format(
                code, last
            ),
            details,
        )
    how = "signal {}".format(code - 128) if code > 128 else "exit code {}".format(code)
    return Fault("device_lost", "the worker died ({}): {}".format(how, last), details)


def guard(lifeline: int) -> None:
    """Fork; return in the worker, and stay in the parent as its guard.

    To be called before threads are started and anything large is imported.
    """
    alive, worker_end = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)
        os.close(alive)
        os.close(lifeline)
        return  # worker_end stays open, and closes when the worker ends
    os.close(worker_end)
    _attend(worker, lifeline, alive)


def _attend(worker: int, lifeline: int, alive: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (0, 1):  # else the session would see no end of the worker's
        os.close(descriptor)
    with contextlib.suppress(OSError):  # it did so itself, or is gone
        os.setpgid(worker, worker)
    if alive not in wait_readable([lifeline, alive], None):
        processes.signal_group(worker, signal.SIGTERM)
        wait_readable([alive], GRACE_S)
    processes.signal_group(worker, signal.SIGKILL)  # with what the worker left behind
    _, status = os.waitpid(worker, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def ask(role: str, question: Dict[str, Any], timeout_s: float) -> Dict[str, Any]:
    """Return a child's one answer to one question.

    Raises:
        Fault: what it sent, what its end means, or `timeout_run`.
    """
    child = Child(role, question)
    try:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            frame = child.receive([], deadline - time.monotonic())
            if frame is not None and frame[0]["type"] != "started":
                child.finish()
                return frame[0]
        raise Fault("timeout_run", "the board did not answer within {:g} s".format(timeout_s))
    finally:
        child.close()
