"""The way to a machine: the user's own ssh, or a process on this one, with the agent at its end.

Nothing is installed there and no port is opened. Python on the machine reads one line of
source from its standard input and runs it (`agent/wire/bootstrap.py`); that asks for the agent's
file if it is not there yet, and becomes it. All that a shell over there ever sees is the
constant below and the name of a Python.
"""

import contextlib
import inspect
import os
import shlex
import subprocess
import sys
import time

from gensynth.devices import ssh, way
from gensynth.devices.agent.wire import bootstrap
from gensynth.devices.agent.wire.channel import CHUNK, Channel, Tail, wait_readable
from gensynth.devices.agent.wire.frames import NOISE_LIMIT, Frame
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.package import Agent
from gensynth.devices.registry import Device
from gensynth.devices.ssh import Said
from gensynth.errors import DeviceFault

# Understood by Python 2 too, so that a board with nothing newer can say so. Nothing is imported
# from the working folder, which is the user's own on a board and anybody's here.
LOADER = (
    "import sys;sys.path[:]=[p for p in sys.path if p];import os;"
    f'sys.version_info<(3,6)and sys.exit("{ssh.OLD_PYTHON} %d.%d"%sys.version_info[:2]);'
    'f=os.fdopen(0,"rb",0);'
    "exec(f.readline())"
)
# The agent needs the standard library alone, so it is spared what else is installed.
_OPTIONS = ("-E", "-s", "-S", "-c")
START_S = 60.0
"""How long a shell and Python may take to start: seconds on a board whose memory card is slow."""

_CLOSE_S = 3.0
_MARGIN_S = 0.5  # ssh has its own limit, and its words are better than ours


class Link:
    """A running agent and the process that reaches it.

    Attributes:
        channel: messages to it.
        pid: of the process on this machine.
    """

    def __init__(
        self, device: Device, agent: Agent, *, timeout_s: float, start_s: float = START_S
    ) -> None:
        """Start the agent, giving it its file if need be.

        Args:
            timeout_s: for the connection, which ssh itself keeps.
            start_s: until Python runs there, or has the agent's file.

        Raises:
            DeviceFault: `device_lost`, `auth_failed`, `host_key_changed`, `runtime_missing`,
                `version_mismatch`, or `build_failed` if its disk is full.
        """
        self._device = device
        self._patience_s = timeout_s + start_s
        self._process = _start(device, timeout_s)
        self.pid = self._process.pid
        pipes = (self._process.stdout, self._process.stdin, self._process.stderr)
        source, sink, errors = (os.dup(pipe.fileno()) for pipe in pipes if pipe)
        for pipe in pipes:
            if pipe:
                pipe.close()
        self.channel = Channel(source, sink)
        self._tail = Tail(errors)
        self._is_closed = False
        self._printed = b""  # before Python's first word
        try:
            self._boot(agent)
        except Fault as fault:
            raise self.explain(fault) from fault
        except BaseException:
            self.close()
            raise

    def receive(self, timeout_s: float) -> Frame | None:
        """Return the agent's next message, or None if nothing comes for so long.

        Raises:
            DeviceFault: as `Link`, or `protocol_error`; the link is closed.
        """
        try:
            while not self.channel.has_message:
                if not self._is_readable(timeout_s):
                    return None
                self.channel.pump()
            return self.channel.receive(0.0)
        except Fault as fault:
            raise self.explain(fault) from fault

    def explain(self, fault: Fault) -> DeviceFault:
        """Close, and return why the agent cannot be spoken to any more."""
        code = self._end(_MARGIN_S if fault.status == "device_lost" else 0.0)
        if fault.status == "device_lost":
            said = Said(self._tail.text(), self._printed.decode("utf-8", "replace"))
            fault = ssh.explain(self._device, code, said, fault)
        return DeviceFault(fault.status, fault.message, fault.details)

    def close(self) -> None:
        """End the connection; the agent gets a moment to end by itself."""
        self._end(_CLOSE_S)

    def _boot(self, agent: Agent) -> None:
        source = inspect.getsource(bootstrap)
        call = f"become_agent(f, {agent.sha256!r}, {len(agent.content)})"
        self._send(f"exec({source + call!r})\n".encode("ascii"))
        word, _, reason = self._answer().partition(" ")
        if word == "need":
            self._send(agent.content)
            word, _, reason = self._answer().partition(" ")
        if word == "fail":
            message = (
                f"{self._device.alias} cannot keep the agent: {reason}; make that folder writable, "
                "or set GENSYNTH_AGENT_HOME there, in /etc/environment, to one that is"
            )
            raise Fault("build_failed", message, {"cause": "disk"})
        if word != "have":
            raise Fault("protocol_error", f"the bootstrap answered {word!r:.80}")

    def _send(self, content: bytes) -> None:
        """Send what the bootstrap waits for; why a shell has gone, `_answer` reads in its words."""
        with contextlib.suppress(Fault):
            self.channel.send_bytes(content)

    def _answer(self) -> str:
        """Return the bootstrap's next line, past all that a shell printed before it."""
        deadline_s = time.monotonic() + self._patience_s + _MARGIN_S
        seen = b""
        while True:
            start = seen.find(bootstrap.MARKER)
            end = seen.find(b"\n", start) if start >= 0 else -1
            if end >= 0:
                self.channel.take(seen[end + 1 :])  # an agent that fails at once says so
                return seen[start + len(bootstrap.MARKER) : end].decode("utf-8", "replace")
            if len(seen) > NOISE_LIMIT:
                raise Fault(
                    "protocol_error",
                    f"the shell of {self._device.alias} must print less than {NOISE_LIMIT} bytes "
                    f"before Python starts; it begins with {seen[:80]!r}",
                )
            if not self._is_readable(deadline_s - time.monotonic()):
                said = f"; it printed {seen[-200:]!r}" if seen else ""
                raise Fault("device_lost", f"no answer within {self._patience_s:g} s{said}")
            received = os.read(self.channel.source, CHUNK)
            if not received:
                raise Fault("device_lost", "the connection ended before Python had started")
            seen += received
            self._printed = seen

    def _is_readable(self, timeout_s: float) -> bool:
        """Wait for the agent to say something, and keep the end of what comes as errors."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            errors = [self._tail.source] if self._tail.is_open else []
            ready = wait_readable([self.channel.source, *errors], deadline_s - time.monotonic())
            self._tail.pump()
            if self.channel.source in ready or not ready:
                return bool(ready)

    def _end(self, patience_s: float) -> int | None:
        """Close everything; return the exit code, None if the process had to be ended."""
        if self._is_closed:
            return None
        self._is_closed = True
        self.channel.close()
        deadline_s = time.monotonic() + patience_s
        while self._tail.is_open and wait_readable(
            [self._tail.source], deadline_s - time.monotonic()
        ):
            self._tail.pump()
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(max(0.0, deadline_s - time.monotonic()))
        if code is None:
            self._process.terminate()
            try:
                self._process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._tail.source)
        return code


def _start(device: Device, timeout_s: float) -> subprocess.Popen[bytes]:
    environment = None
    if device.destination is None:
        command = [sys.executable, *_OPTIONS, LOADER]
    else:
        environment = way.environment()
        remote = shlex.join([device.python, *_OPTIONS, LOADER])
        command = ssh.command(device, timeout_s, remote)
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: we cancel the job and then end it
        )
    except FileNotFoundError as error:
        raise DeviceFault(
            "device_lost", f"there is no {command[0]} on this machine; install OpenSSH's client"
        ) from error
