"""One job with one runtime, in a process of its own.

    load     every network: an engine from the cache, or built
    outputs  every network once on its inputs; a value that is no number ends the job
    latency  warm-up of each, then rounds in turns, no sampler; the reference network, where one
             is asked for, has a short turn in each round, and shows whether the board is itself
    profile  what each kernel of each network takes, where that is asked for
    energy   an idle window, then windows in turns

`work` returns what it found as a part of the job's result; the session adds the board's
facts, its clocks and the runtimes that did not work.
"""

import json
import os
from collections import Counter
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from gensynth.devices.agent.board import board, others
from gensynth.devices.agent.measuring import windows
from gensynth.devices.agent.measuring.reference import Reference, open_reference
from gensynth.devices.agent.runtimes.networks import Loaded, open_network
from gensynth.devices.agent.runtimes.runtimes import Runtime, open_runtime
from gensynth.devices.agent.wire.spec import MOST_RUNS, Spec
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import as_json, first_not_finite
from gensynth.devices.agent.wire.timing import (
    AGREEING_BLOCKS,
    Turn,
    in_turns,
    now_ns,
    runs_a_turn,
    warm_up,
)

Result = Dict[str, Any]
Send = Callable[[Dict[str, Any]], None]

PROFILE_S = 1.0
_BYTES_A_TIME, _BYTES_A_SAMPLE = 8, 16

# Flags that are a status of their own, the worst first; any other flag means "degraded".
_STATUS_FLAGS = ("throttled", "not_steady")


def work(spec: Spec, runtime: str, spool: Spool, send: Send) -> Result:
    """Do a job with one runtime.

    Args:
        spec: as `check_spec` lets it pass.
        runtime: one of those that it names.
        spool: holds the job's blobs and takes what it makes.
        send: takes messages of progress; the first comes when the runtime is open.

    Returns:
        "status", "flags", "message", "runtime", "networks", "reference", "others", "idle",
        "power", "seconds".

    Raises:
        Fault: `runtime_missing` if the runtime does not work here, and any other outcome
            without figures.
    """
    root = os.environ.get("GENSYNTH_AGENT_ROOT") or "/"
    opened = open_runtime(runtime, spec["threads"], spool, root, _board_name(root))
    try:
        return _Job(spec, spool, send, root, opened).done()
    finally:
        opened.close()


class _Job:
    """A job with an open runtime, and what came out so far."""

    def __init__(self, spec: Spec, spool: Spool, send: Send, root: str, runtime: Runtime) -> None:
        self._spec = spec
        self._spool = spool
        self._send = send
        self._root = root
        self._runtime = runtime
        self._flags: List[str] = []
        self._seconds: Dict[str, float] = {}
        self._run_s: List[float] = []  # of each network, its first run

    def done(self) -> Result:
        """Do all that the specification asks for, in its order."""
        spec = self._spec
        loaded: List[Loaded] = []
        for entry in spec["networks"]:
            self._progress("build", len(loaded), len(spec["networks"]))
            loaded.append(self._load(entry))
        beside = self._reference()
        self._progress("loaded", len(loaded), len(loaded))
        self._check_threads()
        networks: List[Result] = [
            {
                "id": network.network.id,
                "engine": self._engine(network),
                "file_precision": network.network.onnx.precision,
                "outputs": None,
                "warmup": None,
                "times": None,
                "windows": None,
                "windows_rejected": None,
                "profile": None,
            }
            for network in loaded
        ]
        result: Result = {
            "networks": networks,
            "reference": None if beside is None else beside.result,
            "others": None,
            "idle": None,
            "power": None,
        }
        if not spec["build_only"]:
            with self._phase("outputs"):
                for network, entry in zip(loaded, networks):
                    began = now_ns()
                    entry["outputs"] = self._outputs(network)
                    self._run_s.append((now_ns() - began) / 1e9)
            if spec["timing"] is not None:
                with self._phase("latency"):
                    result["others"] = self._latency(loaded, networks, beside)
            if spec["profile"]:
                with self._phase("profile"):
                    for network, entry in zip(loaded, networks):
                        entry["profile"] = self._profile(network)
            if spec["energy"] is not None:
                with self._phase("energy"):
                    self._energy(loaded, result)
        return dict(
            result,
            status=self._status(),
            flags=self._flags,
            message="",
            runtime={
                "path": self._runtime.path,
                "version": self._runtime.version,
                "details": self._runtime.details,
            },
            seconds=self._seconds,
        )

    def _load(self, entry: Dict[str, Any]) -> Loaded:
        with _about(entry["id"]):
            network = open_network(entry, self._spool)
            workspace_mib = self._spec["workspace_mib"]
            loaded = self._runtime.load(network, self._spec["precision"], workspace_mib)
        engine = loaded.engine
        if engine is not None and engine["workspace_mib"] < workspace_mib:
            self._flag("smaller_workspace")
        return loaded

    def _engine(self, network: Loaded) -> Optional[Dict[str, Any]]:
        """Return what was built for a network; its layers and its log, which are long, as blobs."""
        if network.engine is None:
            return None
        layers, log = network.engine["layers"], network.engine["log"]
        counts = None if layers is None else dict(Counter(layer["precision"] for layer in layers))
        return dict(
            network.engine,
            precisions=counts,
            layers=None if layers is None else self._put(json.dumps(layers).encode("utf-8")),
            log=self._put(log.encode("utf-8", "replace")),
        )

    def _put(self, content: bytes) -> str:
        return self._spool.put_result_blob(self._spec["id"], content)

    def _outputs(self, network: Loaded) -> List[Dict[str, object]]:
        """Return a network's outputs as blobs, once they are seen to be numbers."""
        name = network.network.id
        with _about(name):
            outputs = network.outputs()
            for output in outputs:
                found = first_not_finite(output)
                if found is not None:
                    raise Fault(
                        "invalid_output",
                        f"the outputs of {name} must be finite, got {found.value} in "
                        f"{output.name!r} at position {found.position}",
                        {"tensor": output.name, "position": found.position, "value": found.value},
                    )
            return [as_json(output, self._put(output.data)) for output in outputs]

    def _profile(self, network: Loaded) -> Optional[str]:
        """Return what each kernel takes as a blob; None where the runtime cannot tell."""
        with _about(network.network.id):
            entries = network.profile(PROFILE_S)
        return None if entries is None else self._put(json.dumps(entries).encode("utf-8"))

    def _reference(self) -> Optional[Reference]:
        asked = self._spec["reference"]
        if asked is None or self._spec["timing"] is None or self._spec["build_only"]:
            return None
        return open_reference(asked, self._runtime, self._spool, self._spec["workspace_mib"])

    def _check_threads(self) -> None:
        """Flag more threads than processors: they wait for each other, whatever the network."""
        found = others.processors(self._root)
        if self._runtime.processor == "cpu" and found is not None and self._spec["threads"] > found:
            self._flag("threads")

    def _latency(
        self, loaded: List[Loaded], networks: List[Result], beside: Optional[Reference]
    ) -> Result:
        """Time the networks in turns; return what others used of the processors meanwhile."""
        timing = self._spec["timing"]
        warmup = timing["warmup"]
        signals = set(board.throttle(self._root))
        runs, expected_s = [], 0.0
        for done, (network, entry) in enumerate(zip(loaded, networks)):
            block_s = max(warmup["block_s"], self._run_s[done])
            self._progress(
                "warm-up", done, len(loaded), warmup["cap_s"] + AGREEING_BLOCKS * block_s
            )
            warm = warm_up(network.block, **warmup)
            entry["warmup"] = {"seconds": warm.seconds, "runs": warm.runs, "steady": warm.steady}
            if not warm.steady:
                self._flag("not_steady")
            count = runs_a_turn(timing["runs"], timing["min_round_s"], warm.typical_ns)
            runs.append(min(count, max(timing["runs"], MOST_RUNS // timing["rounds"])))
            expected_s += timing["rounds"] * (runs[-1] + 1) * warm.typical_ns / 1e9
        turns_of = [_turn_of(network, count) for network, count in zip(loaded, runs)]
        if beside is not None and beside.warm_up():
            turns_of.append(beside.turn)
            expected_s += timing["rounds"] * beside.turn_s
        self._progress("latency", 0, timing["rounds"], expected_s)
        self._spool.require(2 * _BYTES_A_TIME * timing["rounds"] * sum(runs))
        meanwhile = others.Others(self._root)
        rounds = in_turns(
            turns_of,
            timing["rounds"],
            lambda done: self._progress("latency", done, timing["rounds"]),
        )
        found = meanwhile.since()
        if signals.union(board.throttle(self._root)):
            self._flag("throttled")
        if beside is not None and len(rounds) > len(loaded):
            beside.result["times"] = self._times(rounds[-1], beside.runs)
        for entry, turns, count in zip(networks, rounds, runs):
            entry["times"] = self._times(turns, count)
        return found

    def _times(self, turns: List[Turn], runs: int) -> Dict[str, Any]:
        """Return the times of all rounds as blobs of u64, little-endian, in nanoseconds."""
        total = b"".join(turn.total_ns.tobytes() for turn in turns)
        parts = [turn.compute_ns.tobytes() for turn in turns if turn.compute_ns is not None]
        return {
            "blob": self._put(total),
            "compute": self._put(b"".join(parts)) if parts else None,
            "rounds": len(turns),
            "runs": runs,
        }

    def _energy(self, loaded: List[Loaded], result: Result) -> None:
        """Take the energy; where there is no sensor to believe, the latency stands alone."""
        asked = self._spec["energy"]
        total = asked["windows"] * len(loaded)
        each_s = asked["settle_s"] + asked["window_s"]
        seconds = asked["settle_s"] + asked["idle_s"]
        seconds += asked["windows"] * sum(each_s + 2 * run_s for run_s in self._run_s)
        self._progress("energy", 0, total, seconds)
        self._spool.require(_BYTES_A_SAMPLE * int(seconds * asked["rate_hz"] + 1))
        try:
            taken = windows.measure(
                loaded,
                asked,
                self._runtime.processor,
                self._spool,
                self._spec["id"],
                self._root,
                lambda done: self._progress("energy", done, total),
            )
        except Fault as fault:
            is_sensor = fault.status in ("sensor_missing", "sensor_bad")
            if not is_sensor or self._spec["timing"] is None:
                raise
            result["power"] = {"reason": fault.message}
            self._flag(fault.status)
            return
        if taken.throttled:
            self._flag("throttled")
        result.update(power=taken.power, idle=taken.idle)
        for entry, kept, rejected in zip(result["networks"], taken.windows, taken.rejected):
            entry.update(windows=kept, windows_rejected=rejected)

    def _status(self) -> str:
        for flag in _STATUS_FLAGS:
            if flag in self._flags:
                return flag
        return "degraded" if self._flags else "ok"

    def _flag(self, flag: str) -> None:
        if flag not in self._flags:
            self._flags.append(flag)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._progress(name, 0, len(self._spec["networks"]))
        start = now_ns()
        yield
        self._seconds[name] = (now_ns() - start) / 1e9

    def _progress(
        self, phase: str, done: int, total: int, expected_s: Optional[float] = None
    ) -> None:
        """Say how far it is, and how long what follows takes at this board's speed, if known."""
        said = {"type": "progress", "phase": phase, "done": done, "total": total}
        self._send(said if expected_s is None else dict(said, expected_s=round(expected_s, 3)))


@contextmanager
def _about(network: str) -> Iterator[None]:
    """Say in a fault's details which network it is about."""
    try:
        yield
    except Fault as fault:
        details = dict(fault.details, network=network)
        raise Fault(fault.status, fault.message, details) from fault


def _turn_of(network: Loaded, runs: int) -> Callable[[], Turn]:
    return lambda: network.turn(runs)


def _board_name(root: str) -> str:
    """Return what tells this board from every other."""
    facts = board.facts(root)
    return "{}/{}".format(facts.get("model"), facts.get("serial_hash"))
