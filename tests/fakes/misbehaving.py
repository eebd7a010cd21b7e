# ruff: noqa: UP006, UP035 (the typing of Python 3.6)
"""A worker that does what its network's id says; packed into an agent in place of `work`.

Python 3.6 grammar and its standard library, since it runs on every Python that an agent does.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict

from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault

# As Linux 4.9, which L4T R32 runs, writes it (mm/oom_kill.c).
OUT_OF_MEMORY = "Out of memory: Kill process 8121 (python3) score 911 or sacrifice child"


def work(
    spec: Dict[str, Any], runtime: str, spool: Spool, send: Callable[[Dict[str, Any]], None]
) -> Dict[str, Any]:
    """Do a job as `gensynth.devices.agent.measuring.work.work` does, or not."""
    network = spec["networks"][0]["id"]
    if network == "dies-loading":
        os._exit(7)
    send({"type": "progress", "phase": "build", "done": 0, "total": 1})
    if network == "dies-building":
        os._exit(7)
    send({"type": "progress", "phase": "loaded", "done": 1, "total": 1})
    send({"type": "progress", "phase": "latency", "done": 0, "total": 1})
    kind, _, argument = network.partition("-")
    if kind == "sleep":
        _sleep(float(argument) / 1000, send)
    elif kind == "stubborn":
        _be_stubborn()
    elif kind == "prints":
        sys.stdout.write("gone\n" * 10000)
        sys.stdout.flush()
        os.write(1, b"\x93GSYN\r\n\x1a" * 1000)
        subprocess.check_call(["echo", "hello"])
    elif kind == "floods":
        for _ in range(1 << 10):
            os.write(2, b"x" * (1 << 16))
    elif kind == "signal":
        os.kill(os.getpid(), int(argument))
    elif kind == "outgrows":
        with Path(os.environ["GENSYNTH_AGENT_ROOT"], "dev/kmsg").open("a") as log:
            log.write("3,8,90,-;" + OUT_OF_MEMORY + "\n SUBSYSTEM=memory\n6,9,91,-;eth0: up\n")
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        os._exit(int(argument))
    elif kind == "raises":
        raise ValueError("a bug of the worker")
    elif kind == "remembers":
        raise MemoryError
    elif kind == "fault":
        raise Fault(argument.replace("-", "_"), "as asked")
    elif kind == "leaves":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    elif kind == "nan":
        return {"status": "ok", "networks": [{"id": network, "figure": float("nan")}]}
    elif kind == "odd":
        return {"status": "splendid", "networks": []}
    elif kind == "writes":
        spool.put_result_blob(spec["id"], b"x" * (int(argument) << 20))
    blob = spool.put_result_blob(spec["id"], spec["id"].encode("utf-8"))
    return {"status": "ok", "networks": [{"id": network, "times": {"blob": blob}}]}


def _sleep(seconds: float, send: Callable[[Dict[str, Any]], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        send({"type": "progress", "phase": "latency", "done": 0, "total": 1})
        time.sleep(0.02)


def _be_stubborn() -> None:
    """Ignore every signal that can be ignored, and so does a child."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)
