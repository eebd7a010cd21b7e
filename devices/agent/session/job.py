"""A job on this board, from the request to the stored result.

A job's id is its identity: while it runs, a repeat waits for it; once it has a result, a
repeat is answered with that. What the host or the world cut short leaves no result, so that
a repeat runs it again.
"""

import contextlib
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from gensynth.devices.agent.board import board, clocks
from gensynth.devices.agent.board.kernel_log import KernelLog
from gensynth.devices.agent.session import lock
from gensynth.devices.agent.session.child import Child
from gensynth.devices.agent.session.lease import Lease, Stopwatch
from gensynth.devices.agent.session.lock import BoardLock
from gensynth.devices.agent.wire.channel import Channel
from gensynth.devices.agent.wire.spec import BEAT_S, Spec, blobs_of
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import STATUSES, USABLE, Fault

# What a repeat under the same id would find again; the rest is the world's doing.
FINAL = frozenset(
    "ok degraded throttled not_steady invalid_output unsupported_op build_failed oom timeout_build "
    "timeout_run".split()
)
PASSING = ("disk", "died")
UNKNOWN_OWNER_S = 15.0  # a killed session's worker is ended, and the clocks are put back

Result = Dict[str, Any]


def answer(spec: Spec, host: Channel, spool: Spool, root: str) -> Result:
    """Return the result of a job, stored, awaited or made now.

    Raises:
        Fault: `device_busy` with the owner; `protocol_error` for a blob that is not there.
    """
    holding = BoardLock(spool, root, spec["id"])
    lease = Lease(host, spool, spec)
    since_s = time.monotonic()
    told_s = float("-inf")
    while True:
        owner = holding.acquire()
        stored = spool.result(spec["id"])
        if stored is not None:
            if owner is None:
                holding.release()
            return stored
        if owner is None:
            owner = holding.claim()
            if owner is None:
                break
            holding.release()
        if owner.get("id") != spec["id"] and (owner or _passed(since_s, UNKNOWN_OWNER_S)):
            which = "job {}".format(owner["id"]) if "id" in owner else "a job"
            raise Fault(
                "device_busy",
                "the board must be free; it runs {} for {}".format(
                    which, owner.get("host", "an unknown session")
                ),
                {"owner": owner},
            )
        if _passed(told_s, BEAT_S):
            told_s = time.monotonic()
            lease.tell({"type": "waiting", "id": spec["id"], "owner": owner})
        if owner:
            _await_other(spec, lease, spool)
        else:
            lease.check()
        time.sleep(min(0.1, lease.wake_s))
    try:
        return _hold(spec, lease, spool, root, holding)
    finally:
        holding.release()


def _passed(since_s: float, seconds: float) -> bool:
    return time.monotonic() - since_s > seconds


def _await_other(spec: Spec, lease: Lease, spool: Spool) -> None:
    """Pass what our host says on to the session that runs the job."""
    try:
        if lease.check():
            lock.prolong(spool, spec["id"])
    except Fault as fault:
        if fault.details.get("cause") == "host":
            lock.prolong(spool, spec["id"], cancel=True)
        raise


def _hold(spec: Spec, lease: Lease, spool: Spool, root: str, holding: BoardLock) -> Result:
    """Run a job on a board that is ours, and keep its result."""
    holding.interrupted()
    missing = spool.missing(blobs_of(spec))
    if missing:
        raise Fault("protocol_error", "a job's blobs must be sent before it", {"missing": missing})
    holding.begin()
    lease.tell({"type": "accepted", "id": spec["id"]})
    result = _run(spec, lease, spool, root, holding)
    unkept = False
    if result["status"] in FINAL and result["details"].get("cause") not in PASSING:
        try:
            spool.store_result(result)
        except Fault as fault:  # the host has it now or never; what it names is still there
            unkept = True
            spool.journal("unkept", id=spec["id"], why=fault.message)
    if not unkept:
        spool.drop_unfinished()
    spool.sweep()  # a worker that was killed cleared nothing away
    spool.evict()
    holding.end(result["status"])
    return result


def _run(spec: Spec, lease: Lease, spool: Spool, root: str, holding: BoardLock) -> Result:
    """Return the result of a job, whatever its status; the clocks are as before."""
    began_s = time.monotonic()
    result: Result = {
        "id": spec["id"],
        "status": "ok",
        "flags": [],
        "message": "",
        "details": {},
        "runtime": {"path": None, "version": None, "details": {}},
        "board": board.facts(root),
        "networks": [],
        "reference": None,
        "others": None,
        "idle": None,
        "power": None,
        "clocks": None,
        "simulated": root != "/",
    }
    watch = Stopwatch(spec["limits"])
    tried: List[Dict[str, str]] = []
    kernel = KernelLog(root)
    try:
        with _clocks(spec, lease, spool, root, result):
            result.update(_climb(spec, lease, watch, holding, tried))
    except Fault as fault:
        result.update(fault.as_json())
        if fault.status == "oom":
            said = result["details"]["kernel"] = kernel.killings()
            result["message"] += "; the kernel says: " + said[-1] if said else ""
    finally:
        kernel.close()
    if result["clocks"] is not None and result["clocks"]["flags"]:
        result["flags"] = list(result["flags"]) + result["clocks"]["flags"]
        result["status"] = "degraded" if result["status"] == "ok" else result["status"]
    result["runtime"] = dict(result["runtime"], tried=tried)
    result["board_after"] = board.facts(root)
    result["seconds"] = dict(
        result.get("seconds") or {},
        total=round(time.monotonic() - began_s, 3),
        load=round(watch.spent_s["build"], 3),
        run=round(watch.spent_s["run"], 3),
    )
    return result


@contextlib.contextmanager
def _clocks(spec: Spec, lease: Lease, spool: Spool, root: str, result: Result) -> Iterator[None]:
    """Hold the clocks as asked, and note in the result what became of that."""
    if spec["clocks"] is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        with lease.beating():  # the tools take their time
            held = stack.enter_context(clocks.hold(spec["clocks"], spool.home, root))
        try:
            yield
        finally:
            with lease.beating():
                stack.close()
            result["clocks"] = held.describe()


def _climb(
    spec: Spec, lease: Lease, watch: Stopwatch, holding: BoardLock, tried: List[Dict[str, str]]
) -> Result:
    """Return the result of the first runtime that works, each tried in a fresh process."""
    status, what = "runtime_missing", "the board must have one of the runtimes; "
    details: Dict[str, Any] = {"tried": tried}
    for path in spec["runtimes"]:
        result, fault = _work(spec, path, lease, watch, holding)
        if fault is None:
            return result
        tried.append({"path": path, "why": fault.message})
        if fault.status == "build_failed":
            status, what = "build_failed", "no runtime of the board loads the network; "
            details["cause"] = "died"
    reasons = "; ".join("{path}: {why}".format(**one) for one in tried)
    raise Fault(status, what + reasons, details)


def _work(
    spec: Spec, path: str, lease: Lease, watch: Stopwatch, holding: BoardLock
) -> Tuple[Result, Optional[Fault]]:
    """Return a runtime's result, or why it does not work here.

    A runtime that dies before it has loaded does not work here, or not with this network;
    memory that runs out, or time, is the network's doing, and another runtime's figures would
    hide it.
    """
    question = {"type": "job", "spec": spec, "runtime": path}
    child = Child("work", question, inherited=holding.descriptors)
    phase = ""
    try:
        while True:
            lease.check()
            frame = child.receive(lease.sources, min(lease.wake_s, watch.left_s()))
            if frame is None:
                continue
            header = frame[0]
            if header["type"] == "started":
                holding.record_worker(header["pid"])
            elif header["type"] == "progress":
                phase = str(header.get("phase"))
                watch.enter(phase)
                if isinstance(header.get("expected_s"), (int, float)):
                    watch.expect(header["expected_s"])
                lease.tell(dict(header, id=spec["id"]))
            elif header["type"] == "result":
                child.finish()
                return _checked(header["result"]), None
            else:
                raise Fault("protocol_error", "the worker sent {!r}".format(header["type"]))
    except Fault as fault:
        if fault.status == "device_lost" and phase in ("", "build"):
            fault = Fault("build_failed" if phase else "runtime_missing", fault.message)
        elif fault.status != "runtime_missing":
            raise
        return {}, fault
    finally:
        with lease.beating():  # what the kernel does not let go of is waited for
            child.close()


def _checked(result: Any) -> Result:
    if not isinstance(result, dict) or result.get("status", "ok") not in STATUSES:
        raise Fault("protocol_error", "the worker's result must be an object with a known status")
    if result.get("status", "ok") in USABLE and not result.get("networks"):
        raise Fault("protocol_error", "the worker's result must have networks")
    return result
