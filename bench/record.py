"""A job's result as the record that is kept, printed and returned: plain JSON values.

    schema, job_id, status, flags, message, provenance     "measured", or "simulated" for good
    request        all that was asked for, the settings of the grade too
    device         alias and profile, and what the board said of itself
    runtime, clocks, thermal, seconds
    networks       one entry each: onnx_sha256, structure_sha256, params, macs (or why not),
                   correctness, warmup, latency, energy (or why not), ratio, end_to_end;
                   where it was asked for: profile, and kernels by vertex
    others         processors that others kept busy while the networks were timed
    reference_in_turns   the reference network, timed in turns with the others, beside what it
                   uses to take there (`gensynth.bench.quiet`)
    reference      the board's last point in its control chart (`gensynth.bench.control`); None
                   for this machine, absent for the reference network itself
    not_kept       why the store does not have it; None where it does
    command, started_utc, gensynth, agent

A figure that was not taken is None and has its reason beside it; no figure is ever 0, infinite
or NaN in its place. Statistical intervals ("ci95") and systematic bounds ("syst_pct") are apart.
Raw times and samples are kept by their hash, so that any statistic can be made again.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gensynth.bench import correctness, energy, samples
from gensynth.bench.compare import paired_ratio
from gensynth.bench.correctness import LEAST_COSINE
from gensynth.bench.energy import EnergyEstimate
from gensynth.bench.estimate.profiled import PROFILE_BYTES, kernels_of
from gensynth.bench.figures import decode_times, latency
from gensynth.bench.integrate import Window
from gensynth.bench.quiet import disturbances
from gensynth.bench.request import Request
from gensynth.bench.samples import PAIR, Samples, Sensor
from gensynth.bench.subjects import Subject
from gensynth.devices.agent.wire.spec import MOST_RUNS
from gensynth.devices.agent.wire.status import USABLE
from gensynth.devices.agent.wire.tensors import byte_count
from gensynth.devices.answers import PROFILE, RESULT
from gensynth.errors import DeviceFault
from gensynth.outside import ELEMENTS

SCHEMA = "gensynth.bench/1"
MEASURED, SIMULATED = "measured", "simulated"
DRIFT_PCT = 2.0
_PLAIN_FACTS = (
    "model", "serial_hash", "boot_id", "l4t", "jetpack", "cuda", "tensorrt", "kernel", "machine",
    "python", "power_mode", "fan", "load", "processors", "gpu_load", "uptime_s",
)  # fmt: skip

Fetch = Callable[[str, int], bytes]
"""The SHA-256 of a blob, and the bytes that it can have at most -> its bytes."""


def make(
    request: Request, result: Mapping[str, Any], fetch: Fetch, about: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a result's record, and the raw samples that it names by SHA-256.

    Args:
        request: that was answered.
        result: of the agent, with figures.
        fetch: gives a blob of the result.
        about: "command", "started_utc", "gensynth", "commit", "agent": what the device does
            not know.

    Raises:
        DeviceFault: `invalid_output` if a network computes something else there than here;
            `protocol_error` if the result cannot be read.
    """
    try:
        RESULT.check(result)
    except ValueError as error:
        raise _unreadable(request, f"a result that cannot be read: {error}") from error
    entries = result["networks"]
    if [entry["id"] for entry in entries] != list(request.ids):
        raise _unreadable(request, "figures of other networks than asked for")
    if any(entry["outputs"] is None or entry["times"] is None for entry in entries):
        raise _unreadable(request, "a network without outputs or times")
    if len({len(entry["windows"] or ()) for entry in entries}) > 1:
        raise _unreadable(request, "windows that were not taken in turns")
    # All at once: a session that is silent while this machine computes would be ended.
    fetched = {sha256: fetch(sha256, most) for sha256, most in _blobs(request, result).items()}
    return _Maker(request, result, fetched).record(about)


def _unreadable(request: Request, what: str) -> DeviceFault:
    return DeviceFault("protocol_error", f"{request.device.alias} sent {what}")


def is_usable(record: Mapping[str, Any]) -> bool:
    """Return whether a record's figures were measured on a real device, as asked or nearly so.

    What decides or reports anything asks this first: a simulated result is never usable.
    """
    return record["provenance"] == MEASURED and record["status"] in USABLE


def power_mode(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the power mode in which a record's networks ran; None where there are none."""
    during: dict[str, Any] | None = record["clocks"]["during"].get("power_mode")
    found: dict[str, Any] | None = record["device"]["power_mode"]
    return during or (found if record["clocks"]["asked"] is None else None)


def flag(record: dict[str, Any], name: str) -> None:
    """Say of a record that something was not as asked."""
    if name not in record["flags"]:
        record["flags"].append(name)
    if record["status"] == "ok":
        record["status"] = "degraded"


def answering(record: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return a record of the store as the answer to the same request, under its names."""
    names = [subject.name for subject in request.jobs]
    renamed = json.loads(json.dumps(record))
    networks = list(renamed["networks"])
    networks += [n["end_to_end"] for n in networks if n["end_to_end"] is not None]
    now = {n["name"]: name for n, name in zip(networks, names, strict=True)}
    for network, subject in zip(networks, request.jobs, strict=True):
        network["name"] = subject.name
        network["inputs"]["are"] = subject.fed_with
        if network["ratio"] is not None:
            network["ratio"]["to"] = now[network["ratio"]["to"]]
    return dict(renamed)


def _blobs(request: Request, result: Mapping[str, Any]) -> dict[str, int]:
    """Return the SHA-256 of everything that a result names, and the bytes it can have at most."""
    named = {}
    for entry in result["networks"]:
        for output in entry["outputs"]:
            named[output["blob"]] = byte_count(output["dtype"], tuple(output["shape"]))
        times = entry["times"]
        for sha256 in {times["blob"], times["compute"]} - {None}:
            named[sha256] = 8 * times["rounds"] * times["runs"]
        if request.profile and entry.get("profile") is not None:
            named[entry["profile"]] = PROFILE_BYTES
    if request.energy and "samples" in (result["power"] or {}):
        seconds = request.grade.limit_s(len(request.ids), energy=True)
        asked = request.grade.windows(0)["rate_hz"]
        named[result["power"]["samples"]] = int(PAIR.itemsize * 2 * seconds * asked)
    beside = (result["reference"] or {}).get("times")
    if beside is not None:
        named[beside["blob"]] = 8 * beside["rounds"] * beside["runs"]
    most = max(8 * MOST_RUNS, 8 * ELEMENTS)
    for sha256, size in named.items():
        if size > most:
            raise DeviceFault(
                "protocol_error", f"{sha256:.12} must have at most {most:,} bytes, got {size:,}"
            )
    return named


class _Maker:
    """Makes one record."""

    def __init__(
        self, request: Request, result: Mapping[str, Any], blobs: Mapping[str, bytes]
    ) -> None:
        self._request = request
        self._result = result
        self._blobs = blobs
        self._flags = list(result["flags"])
        self._raw: dict[str, bytes] = {}
        self._times: dict[str, np.ndarray] = {}
        self._energies: dict[str, EnergyEstimate] = {}
        self._samples, self._no_energy = self._power()

    def record(self, about: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the record and its raw samples."""
        request, result = self._request, self._result
        entries = {entry["id"]: entry for entry in result["networks"]}
        measured = [
            self._network(subject, entries[name])
            for name, subject in zip(request.ids, request.jobs, strict=True)
        ]
        networks = measured[: len(request.subjects)]
        for network, whole in zip(networks, measured[len(networks) :], strict=False):
            network["end_to_end"] = whole
        board, after = result["board"], result["board_after"]
        signals = self._signals()
        simulated = bool(result["simulated"] or board.get("simulated") or after.get("simulated"))
        if request.prefers_gpu and result["runtime"]["path"] == "onnxruntime":
            self._flag("on_the_processor")
        record = {
            "schema": SCHEMA,
            "job_id": result["id"],
            "status": result["status"],
            "flags": [],
            "message": result["message"],
            "provenance": SIMULATED if simulated else MEASURED,
            "request": request.settings(),
            "device": {
                "alias": request.device.alias,
                "profile": request.device.profile,
                **{fact: board.get(fact) for fact in _PLAIN_FACTS},
            },
            "runtime": result["runtime"],
            "clocks": result["clocks"] or {"asked": None, "during": board["clocks"]},
            "thermal": {
                "start_c": board["temperatures_c"],
                "end_c": after["temperatures_c"],
                "throttle": {"verdict": "throttled" in self._flags, "signals": signals},
            },
            "networks": networks,
            "others": result["others"],
            "reference_in_turns": self._reference(),
            "seconds": result["seconds"],
            **about,
        }
        for name in (*self._flags, *disturbances(request.grade.quiet, record, board)):
            flag(record, name)
        try:
            return json.loads(json.dumps(record, allow_nan=False)), self._raw
        except ValueError as error:  # NaN and infinity are no JSON
            raise _unreadable(request, "a figure that is no finite number") from error

    def _network(self, subject: Subject, entry: Mapping[str, Any]) -> dict[str, Any]:
        precision = self._precision(entry)
        outputs = {
            output["name"]: correctness.array_of(output, self._blobs[output["blob"]])
            for output in entry["outputs"]
        }
        right = correctness.compare(subject, outputs, precision)
        if right["pass"] is False:
            raise DeviceFault(
                "invalid_output",
                f"{subject.name} must compute on {self._request.device.alias} what it computes "
                f"here, got outputs of cosine {right['cos_min']:.4f} that are "
                f"{100 * right['error']:.3g} % off; nothing was counted",
                {"network": subject.name, **right},
            )
        energy_figures, why_not = self._energy(subject, entry)
        return {
            "name": subject.name,
            "onnx_sha256": subject.sha256,
            "structure_sha256": subject.structure,
            "opset": subject.opset,
            "params": subject.cost.params,
            "macs": subject.cost.macs,
            "no_params_because": subject.cost.why_no_params,
            "no_macs_because": subject.cost.why_not,
            "precision": precision,
            "batch": subject.batch,
            "inputs": {"sha256": subject.inputs_sha256, "are": subject.fed_with},
            "engine": entry["engine"],
            "correctness": right,
            "warmup": entry["warmup"],
            "latency": self._latency(subject, entry["times"]),
            "energy": energy_figures,
            "no_energy_because": why_not,
            **self._kernels(subject, entry),
            "ratio": self._ratio(subject),
            "end_to_end": None,
        }

    def _kernels(self, subject: Subject, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the runtime's profile and its kernels by vertex, where they were asked for."""
        if not self._request.profile:
            return {}
        sha256 = entry.get("profile")
        if sha256 is None:
            return {"profile": None, "kernels": None}
        try:
            profile = PROFILE.read(self._blobs[sha256])
        except ValueError as error:
            raise _unreadable(self._request, f"a profile that cannot be read: {error}") from error
        path = self._result["runtime"]["path"]
        return {"profile": profile, "kernels": kernels_of(subject, profile, path)}

    def _reference(self) -> dict[str, Any]:
        """Return what the reference network took in turns with the others, or why nothing."""
        found = self._result["reference"]
        if found is None or found["times"] is None:
            return {"p50_ms": None, "raw": None, "why": (found or {}).get("why")}
        times = found["times"]
        p50_ms = float(np.median(self._decoded(times["blob"], times["rounds"])))
        return {"p50_ms": p50_ms, "raw": times["blob"], "why": None}

    def _precision(self, entry: Mapping[str, Any]) -> str:
        """Return what was computed in: some runtimes take that from the file."""
        if self._result["runtime"]["path"] == "onnxruntime":
            return str(entry["file_precision"])
        layers = (entry["engine"] or {}).get("precisions")
        counts = {name: (layers or {}).get(name, 0) for name in LEAST_COSINE}
        if counts[self._request.precision] < max(counts.values()):
            self._flag("other_precision")
        return self._request.precision

    def _latency(self, subject: Subject, times: Mapping[str, Any]) -> dict[str, Any]:
        times_ms = self._decoded(times["blob"], times["rounds"])
        self._times[subject.name] = times_ms
        found = latency(times_ms, subject.batch)
        drift = found["drift_pct"]
        if self._request.grade.energy is not None and drift is not None and drift > DRIFT_PCT:
            self._flag("drift")
        compute = None
        if times["compute"] is not None:
            compute = latency(self._decoded(times["compute"], times["rounds"]), subject.batch)
        scope = self._result["runtime"]["details"].get("scope", "host to device, compute, and back")
        return {"scope": scope, **found, "compute_only": compute, "raw": times["blob"]}

    def _decoded(self, sha256: str, rounds: int) -> np.ndarray:
        content = self._raw[sha256] = self._blobs[sha256]
        return decode_times(content, rounds)

    def _power(self) -> tuple[Samples | None, str | None]:
        """Return the samples of the whole job, or why there are none."""
        if not self._request.energy:
            return None, "not asked for; --energy measures it"
        power = self._result["power"]
        if power is None or "reason" in power:
            return None, str((power or {}).get("reason", "the device took no energy"))
        content = self._raw[power["samples"]] = self._blobs[power["samples"]]
        try:
            return samples.believe(*samples.decode(content), Sensor.from_record(power)), None
        except DeviceFault as fault:
            self._flag(fault.status)
            return None, fault.message

    def _energy(
        self, subject: Subject, entry: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, str | None]:
        if self._samples is None or not entry["windows"]:
            return None, self._no_energy or "the device took no window of it"
        windows = [
            Window(w["start_ns"], w["end_ns"], w["runs"] * subject.batch, w["onset_ns"])
            for w in entry["windows"]
        ]
        idle = self._result["idle"]
        idle_ns = None if idle is None else (idle["start_ns"], idle["end_ns"])
        try:
            found = energy.estimate(self._samples, windows, idle_ns=idle_ns)
        except DeviceFault as fault:
            self._flag(fault.status)
            return None, fault.message
        self._energies[subject.name] = found
        if len(found.used) < energy.WINDOWS_FOR_INTERVAL or 2 * len(found.used) < len(windows):
            self._flag("few_windows")
        repeated = len(entry["windows_rejected"] or [])
        figures = {**found.record(), "windows_repeated": repeated}
        return {**figures, "raw": self._result["power"]["samples"]}, None

    def _ratio(self, subject: Subject) -> dict[str, Any] | None:
        """Return the figures over those of the first network, or of the first end to end."""
        count = len(self._request.subjects)
        place = [job.name for job in self._request.jobs].index(subject.name)
        first = self._request.jobs[place // count * count].name
        if subject.name == first:
            return None
        one, other = self._times[subject.name], self._times[first]
        found: dict[str, Any] = {"to": first, "latency": None, "energy": None}
        slower = paired_ratio(one.tolist(), other.tolist())
        ends = slower.interval
        found["latency"] = {"value": slower.value, "ci95": None if ends is None else list(ends)}
        own, firsts = self._energies.get(subject.name), self._energies.get(first)
        if own is not None and firsts is not None and energy.pairs(own, firsts):
            joules = energy.ratio(own, firsts)
            found["energy"] = {
                "value": joules.value,
                "ci95": None if joules.low is None else [joules.low, joules.high],
                "pairs": joules.pairs,
                "offset_pct": joules.offset_pct,
            }
        return found

    def _signals(self) -> list[str]:
        """Return all that any look at the board said of throttling."""
        result = self._result
        seen = set(result["board"]["throttle"]) | set(result["board_after"]["throttle"])
        for entry in result["networks"]:
            for window in entry["windows"] or []:
                seen.update(window["throttle"])
        return sorted(seen)

    def _flag(self, flag: str) -> None:
        if flag not in self._flags:
            self._flags.append(flag)
