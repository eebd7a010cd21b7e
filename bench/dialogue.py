"""What is said with a device's agent: a look at the device, and a job from its request to a record.

A device that is lost in the middle is asked again under the same job's id, which it measures once.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

from gensynth.bench.place import local_runtimes
from gensynth.bench.record import make
from gensynth.bench.request import Request
from gensynth.devices.agent.board import board
from gensynth.devices.client import Connection, connect
from gensynth.devices.registry import Device
from gensynth.environment import environment
from gensynth.errors import DeviceFault
from gensynth.progress import Listener

WITH_FIGURES = frozenset(["ok", "degraded", "throttled", "not_steady"])
PAUSES_S = (2.0, 5.0)
"""Before a device that was lost is asked for the same job again."""

Made = tuple[dict[str, Any], dict[str, bytes]]
Opener = Callable[[Device], AbstractContextManager[Connection]]


class Measuring(Protocol):
    """What measures: a device behind its agent, or a stand-in."""

    def look(self, device: Device, listener: Listener) -> Mapping[str, Any]:
        """Return the facts of a device as they are now, with "runtimes"."""

    def measure(self, request: Request, listener: Listener) -> Made:
        """Return a request's record and its raw times and samples."""


class Agent:
    """A device's own agent.

    Args:
        command: to stand in records.
        opened: a session with a device; None opens one for each question.
    """

    def __init__(self, command: str, opened: Opener | None = None) -> None:
        self._command = command
        self._opened = opened or connect

    def look(self, device: Device, listener: Listener) -> Mapping[str, Any]:
        """Return the facts of a device as they are now, with "runtimes".

        Raises:
            DeviceFault: if it cannot be reached.
        """
        if device.destination is None:
            root = os.environ.get("GENSYNTH_AGENT_ROOT") or "/"
            return {**board.facts(root), "runtimes": local_runtimes()}
        listener.phase("reach")
        with self._opened(device) as connection:
            return connection.facts()

    def measure(self, request: Request, listener: Listener) -> Made:
        """Ask the device; again, under the same id, if it was reached and then lost.

        Raises:
            DeviceFault: if there are no figures; its status says why.
        """
        spec, blobs = request.job()
        versions = environment()
        about = {
            "command": self._command,
            "started_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "gensynth": versions["gensynth"],
            "commit": versions["commit"],
        }
        reached = False
        for pause_s in (*PAUSES_S, None):
            try:
                listener.phase("reach")
                with self._opened(request.device) as connection:
                    reached = True
                    listener.phase("load")
                    result = connection.run(spec, blobs, _Told(listener))
                    if result["status"] in WITH_FIGURES:
                        about["agent"] = connection.hello["agent"]
                        return make(request, result, connection.blob, about)
                break
            except DeviceFault as fault:
                if fault.status == "device_busy":
                    raise _busy(request, fault) from fault
                if fault.status != "device_lost" or not reached or pause_s is None:
                    raise
                listener.note(f"{fault}; asking for the same job again")
                time.sleep(pause_s)
        raise DeviceFault(result["status"], _message(request, result), result["details"])


def _busy(request: Request, fault: DeviceFault) -> DeviceFault:
    host = (fault.details.get("owner") or {}).get("host", "another host")
    return DeviceFault(
        "device_busy",
        f"{request.device.alias} is busy with another measurement, of {host}; two at once would "
        "disturb each other: run the command again when that has ended",
        fault.details,
    )


def _message(request: Request, result: Mapping[str, Any]) -> str:
    """Return why there are no figures; of several runtimes each on a line."""
    tried = result["details"].get("tried")
    if result["status"] != "runtime_missing" or not tried:
        return f"{request.device.alias}: {result['message']}"
    which = "none of its runtimes can"
    if request.runtime is not None:
        which = f"{request.runtime} was asked for and cannot"
    lines = [f"{request.device.alias}: {which} measure that"]
    lines += [f"  {one['path']}: {one['why']}" for one in tried]
    return "\n".join(lines)


class _Told:
    """Passes the agent's words on to a listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, said: Mapping[str, Any]) -> None:
        phase, done, total = said.get("phase"), said.get("done", 0), said.get("total", 0)
        if phase in ("warm-up", "latency", "energy") and total:
            self._listener.phase("measure")
            self._listener.progress(phase, done / total, f"{done} of {total}")
