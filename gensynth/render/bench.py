"""Records of the bench in words: what was measured, where, and how far it can be trusted."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gensynth.bench.control import FEWEST
from gensynth.bench.endtoend import SCOPE
from gensynth.bench.record import power_mode
from gensynth.devices.profiles import find_profile
from gensynth.render.figures import GAP, columns, count, decimals, digits, duration, wrapped
from gensynth.render.flags import FLAGS, STATUS, told

Network = Mapping[str, Any]
Row = tuple[str, Callable[[Network], str]]

_NONE = "-"
_END_TO_END = "end to end"
_SIMULATED = "SIMULATED: made by a model of a device; nothing here was measured"


_PARAMETERS = (
    "parameters: the learned numbers of the file; norms that are folded into its weights are none, "
    "and synth counts them"
)


def bench(record: Mapping[str, Any], width: int = 80) -> str:
    """Return the table of a record, a column a network, and the notes to it.

    Networks that do not fit beside each other follow below, beside the first again.
    """
    networks = list(record["networks"])
    rows = _rows(networks)
    tables = [
        "\n".join(columns([[label, *map(show, some)] for label, show in rows]))
        for some in _fitting(networks, rows, width)
    ]
    parts = ["\n\n".join(tables), "\n".join(wrapped(line, width) for line in _notes(record))]
    if record["provenance"] != "measured":
        parts = [_SIMULATED, *parts, _SIMULATED]
    return "\n\n".join(parts)


def _rows(networks: Sequence[Network]) -> list[Row]:
    """Return label and cell of every row; one without any cell is left out."""
    rows: list[Row] = [("", lambda n: n["name"]), *_timing(lambda n: n)]
    rows += [
        ("parameters", lambda n: _NONE if n["params"] is None else f"{n['params']:,}"),
        ("MACs", lambda n: _NONE if n["macs"] is None else count(n["macs"])),
    ]
    if any(n["energy"] for n in networks):
        rows += _joules(lambda n: n)
    if any(n["end_to_end"] for n in networks):
        rows += [(_END_TO_END, lambda n: ""), *_timing(lambda n: n["end_to_end"])]
        if any(n["end_to_end"]["energy"] for n in networks):
            rows += _joules(lambda n: n["end_to_end"])
    return [row for row in rows if row[0] == _END_TO_END or any(row[1](n) for n in networks)]


def _timing(of: Callable[[Network], Network]) -> list[Row]:
    def ms(key: str) -> Callable[[Network], str]:
        return lambda n: _milliseconds(of(n)["latency"], key)

    return [
        ("latency p50, ms", ms("p50_ms")),
        ("latency p90, ms", ms("p90_ms")),
        ("latency p99, ms", ms("p99_ms")),
        ("timed runs n", lambda n: f"{of(n)['latency']['n']:,}"),
        ("latency mean, ms", ms("mean_ms")),
        ("  95 % interval", lambda n: _interval(of(n)["latency"]["ci95_ms"])),
        ("  compute alone p50, ms", lambda n: _compute(of(n)["latency"])),
        ("scatter (CoV), %", lambda n: digits(of(n)["latency"]["cov_pct"])),
        ("images per second", lambda n: digits(of(n)["latency"]["img_per_s"])),
        ("times the first's latency", lambda n: _ratio(of(n), "latency")),
        ("  95 % interval", lambda n: _ratio_interval(of(n), "latency")),
    ]


def _joules(of: Callable[[Network], Network]) -> list[Row]:
    def figure(key: str) -> Callable[[Network], str]:
        return lambda n: _optional((of(n)["energy"] or {}).get(key))

    def limits(key: str) -> Callable[[Network], str]:
        return lambda n: _interval((of(n)["energy"] or {}).get(key))

    return [
        ("joules per image", figure("j_per_img")),
        ("  95 % interval", limits("ci95")),
        ("images per joule", figure("img_per_j")),
        ("  95 % interval", limits("img_per_j_ci95")),
        ("power, W", figure("p_mean_w")),
        ("times the first's joules", lambda n: _ratio(of(n), "energy")),
        ("  95 % interval", lambda n: _ratio_interval(of(n), "energy")),
    ]


def _milliseconds(latency: Mapping[str, Any], key: str) -> str:
    value = latency[key]
    return _NONE if value is None else f"{value:.{_places(latency['p50_ms'])}f}"


def _places(latency_ms: float) -> int:
    return min(4, decimals(latency_ms))  # clocks tell some 0.00005 ms apart


def _compute(latency: Mapping[str, Any]) -> str:
    alone = latency["compute_only"]
    return "" if alone is None else _milliseconds(alone, "p50_ms")


def _interval(limits: Sequence[float] | None) -> str:
    if limits is None:
        return _NONE
    low, high = limits
    places = decimals(high)
    return f"{low:.{places}f}-{high:.{places}f}"


def _optional(value: float | None) -> str:
    return _NONE if value is None else digits(value)


def _ratio(network: Network, key: str) -> str:
    found = (network["ratio"] or {}).get(key)
    return "" if found is None else f"{found['value']:.3f}"


def _ratio_interval(network: Network, key: str) -> str:
    found = (network["ratio"] or {}).get(key)
    if found is None:
        return ""
    low, high = found["ci95"] or (None, None)
    return _NONE if low is None else f"{low:.3f}-{high:.3f}"


def _fitting(networks: list[Network], rows: Sequence[Row], width: int) -> list[list[Network]]:
    """Return the networks as they fit beside the first, which stands in every table."""

    def breadth(network: Network) -> int:
        return len(GAP) + max(len(show(network)) for _, show in rows)

    first, *others = networks
    room = width - max(len(label) for label, _ in rows) - breadth(first)
    tables, left = [[first]], room
    for network in others:
        if len(tables[-1]) > 1 and breadth(network) > left:
            tables.append([first])
            left = room
        tables[-1].append(network)
        left -= breadth(network)
    return tables


def _notes(record: Mapping[str, Any]) -> list[str]:
    """Return what the figures must not be read without, a line each."""
    lines = [_where(record), _how(record)]
    energy = [n["energy"] for n in record["networks"] if n["energy"]]
    if energy:
        lines.append(_sensor(energy[0]))
        lines += [
            f"{network['name']}: no energy: {network['no_energy_because']}"
            for network in record["networks"]
            if not network["energy"]
        ]
    elif record["request"]["energy"]:
        lines.append(f"no energy: {record['networks'][0]['no_energy_because']}")
    lines += _not_compared(record["networks"])
    lines.append(_heat(record["thermal"]))
    if record.get("reference"):
        lines.append(_reference(record["reference"]))
    lines.append(_PARAMETERS)
    lines += [
        f"{network['name']}: {what} not counted: {network[why]}"
        for network in record["networks"]
        for what, why in (("parameters", "no_params_because"), ("MACs", "no_macs_because"))
        if network.get(why)  # older records have no reason for parameters
    ]
    if any(network["end_to_end"] for network in record["networks"]):
        lines.append(f"{_END_TO_END}: {SCOPE}")
    for network in record["networks"]:
        lines += _rejected(network)
    if record["status"] in STATUS:
        lines.append(told(record["status"]))
    lines += [_flag(record, flag) for flag in record["flags"] if flag not in STATUS]
    if record.get("not_kept"):
        lines.append(f"NOT KEPT: {record['not_kept']}")
    if record.get("from_store"):
        when = record["started_utc"][:16].replace("T", " ")
        lines.append(f"answered from the store: measured {when} UTC; --fresh measures again")
    return lines


def _not_compared(networks: Sequence[Network]) -> list[str]:
    """Say of which networks nothing shows that they computed right."""
    found = [(n["name"], n.get("correctness") or {}) for n in networks]  # older records have none
    return [
        f"outputs of {name} were not compared with this machine's: {right['why_not']}"
        for name, right in found
        if right.get("why_not")
    ]


def _rejected(network: Network) -> list[str]:
    """Say why energy windows do not count, each reason once with how often it was one."""
    energy = network["energy"]
    if not energy or not energy["windows_rejected"]:
        return []
    reasons = Counter(one["why"] for one in energy["windows_rejected"])
    why = "; ".join(reason + (f" ({n} times)" if n > 1 else "") for reason, n in reasons.items())
    rejected = sum(reasons.values())
    of = rejected + energy["windows"]
    return [f"{network['name']}: {rejected} of {of} energy windows rejected: {why}"]


def _flag(record: Mapping[str, Any], flag: str) -> str:
    """Return a flag with the figure that it is for, where there is one."""
    beside, others = record["reference_in_turns"], record["others"] or {}
    used, reasons = others.get("processors"), record["runtime"].get("tried") or []
    if flag == "busy" and used is not None:
        return f"note: {FLAGS[flag]}: others used {digits(used)} processors"
    if flag == "slow":
        return (
            f"note: {FLAGS[flag]}: its reference network took {digits(beside['p50_ms'])} ms in "
            f"turns with these, {digits(beside['usual_p50_ms'])} ms in {beside['jobs']} jobs before"
        )
    if flag == "reference_left_out" and beside["why"]:
        return f"note: {FLAGS[flag]}: {beside['why']}"
    if flag == "threads":
        processors = record["device"].get("processors")
        return f"note: {FLAGS[flag]}: {record['request']['threads']} on {processors:g}"
    if flag == "on_the_processor" and reasons:
        why = "; ".join(f"{one['path']}: {one['why']}" for one in reasons)
        return f"note: {FLAGS[flag]}: {why}"
    return told(flag)


def _where(record: Mapping[str, Any]) -> str:
    device, runtime, request = record["device"], record["runtime"], record["request"]
    profile = find_profile(device["profile"])
    known = profile.models or profile.name in ("nvidia-gpu", "x86")
    named = f" ({profile.title})" if known else ""
    parts = [f"device {device['alias']}{named}"]
    if device["model"] and not known:
        parts.append(device["model"])
    parts.append(f"{runtime['path']} {runtime['version']}")
    if runtime["path"] == "onnxruntime":
        parts.append("1 thread" if request["threads"] == 1 else f"{request['threads']} threads")
    precisions = {network["precision"] for network in record["networks"]}
    parts += [" and ".join(sorted(precisions)), f"batch {request['batch']}"]
    mode = power_mode(record)
    if mode:
        parts.append(f"power mode {mode['id']} {mode['name']}")
    locked = record["clocks"]["during"].get("locked")
    if locked is not None:
        parts.append("clocks locked" if locked else "clocks not locked")
    return ", ".join(parts)


def _how(record: Mapping[str, Any]) -> str:
    request, latency = record["request"], record["networks"][0]["latency"]
    taken = duration(record["seconds"]["total"])
    turns = " in turns" if len(record["networks"]) > 1 or request["end_to_end"] else ""
    return (
        f"grade {request['grade']}: {latency['rounds']} rounds{turns} after warm-up, in {taken}; "
        f"latency is of {latency['scope']}"
    )


def _sensor(energy: Mapping[str, Any]) -> str:
    line = (
        f"energy: rail {energy['rail']} ({energy['scope']}), {energy['sensor']}; gross, in "
        f"{energy['windows']} windows of {digits(energy['window_s'])} s"
    )
    if energy["p_idle_w"] is not None:
        line += f"; idle {digits(energy['p_idle_w'])} W"
    if energy["syst_pct"] is not None:
        line += f"; the sensor itself may be wrong by {energy['syst_pct']:.1f} %"
    return line


def _reference(point: Mapping[str, Any]) -> str:
    line = f"reference network {digits(point['p50_ms'])} ms, "
    if point["delta_sigma"] is None:
        return f"{line}point {point['points']} of the {FEWEST} before its chart has limits"
    return f"{line}{point['delta_sigma']:+.1f} sigma from the centre of its chart"


def _heat(thermal: Mapping[str, Any]) -> str:
    throttle = thermal["throttle"]
    said = "throttled" if throttle["verdict"] else "did not throttle"
    if throttle["signals"]:
        said += f" ({'; '.join(throttle['signals'])})"
    # A TX2's PMIC-Die always tells 100 °C.
    zones = {zone: c for zone, c in thermal["end_c"].items() if not zone.startswith("PMIC")}
    if not zones:
        return f"{said}; the device tells no temperature"
    hottest = max(zones, key=lambda zone: zones[zone])
    before = thermal["start_c"].get(hottest)
    began = f"{before:.0f} to " if before is not None else ""
    return f"{said}; hottest {hottest}, {began}{zones[hottest]:.0f} °C"
