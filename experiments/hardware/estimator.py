"""How well fifty measured networks say what fifty others take, on this processor with one thread.

    python -m experiments.hardware.estimator measure resnet20     (four minutes, nothing beside it)
    python -m experiments.hardware.estimator measure mobilenet
    python -m experiments.hardware.estimator report               (from results/*.json)

A hundred random networks of a prototype's space, their widths, blocks and substitutes drawn alike:
half of them arbitrary widths, half in multiples of 4, 8 or 16. All are loaded at once and run in
turns, in another order in each pass, without and with the runtime's profiler, so that whatever
disturbs the machine falls on all alike. A network's time is the mean of the quicker quarter of its
runs, as a kernel's is; `noise_pct` is what every other pass differs from the rest by.

The first fifty teach, the last fifty are told. Rivals learn from the same: proportional to MACs;
the roofline with one factor; an additive table of layers (a kernel takes what the nearest one that
was measured of its vertex took, by channels read and written; summed, one affine correction).
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.onnxruntime_plan import plan
from gensynth.bench.estimate.prior import PROCESSOR
from gensynth.bench.estimate.profile import KernelTime, match
from gensynth.bench.estimate.sample import Sample
from gensynth.bench.estimate.table import tabulate
from gensynth.devices.agent.runtimes.kernel_times import of_onnxruntime, quick
from gensynth.export.onnx import to_onnx
from gensynth.export.runtime import convolution_block, onnxruntime, runtime_name
from gensynth.prototypes import create
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.trace import trace

RESULTS = Path(__file__).parent / "results"
SUBSTITUTES = ("separable", "grouped_2", "low_rank_2", "bottleneck_2", "smaller_kernel")
NETWORKS, TAUGHT, SEED = 100, 50, 11
RUNS, PROFILED, WARM_UP = 6, 6, 6


def space_of(name: str) -> Space:
    """Return a prototype's space."""
    module = create(name, classes=10, channels=3).eval()
    return Space(couple(trace(module, torch.zeros(1, 3, 32, 32), name=name)), 1, SUBSTITUTES)


def draw(space: Space, random: np.random.Generator) -> Points:
    """Return one random network."""
    share = np.clip(random.normal(random.uniform(0.15, 1.0), 0.25, len(space.sizes)), 0.05, 1)
    step = random.choice([1, 4, 8, 16]) if random.random() < 0.5 else 1
    widths = np.maximum(step, np.round(space.sizes * share / step) * step).astype(int)
    kept = random.random((1, len(space.coupling.blocks))) < random.choice([0.5, 0.8, 1.0])
    scores = random.random(space.sites.allowed.shape)
    scores[:, :1] += random.choice([0.0, 0.6, 2.0])
    chosen = np.where(space.sites.allowed, scores, -1).argmax(axis=1) if len(space.sites) else None
    return Points(
        np.minimum(space.sizes, widths)[None],
        kept,
        None if chosen is None else chosen.astype(np.int8)[None],
    )


def file_of(space: Space, point: Points, random: np.random.Generator) -> bytes:
    """Return a network as an ONNX file with random weights."""
    selection = space.selection(point, 0, [np.arange(size) for size in space.sizes])
    graph = space.coupling.apply(selection)
    weights = {
        key: (random.uniform(0.5, 1, shape) if "var" in key else random.normal(0, 0.1, shape))
        for key, shape in graph.tensor_shapes.items()
    }
    return to_onnx(graph, {k: w.astype(np.float32) for k, w in weights.items()}, batch=1)


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Return the record of a prototype's networks."""
    space, random = space_of(name), np.random.default_rng(SEED)
    points = [draw(space, random) for _ in range(NETWORKS)]
    files = [file_of(space, point, random) for point in points]
    with tempfile.TemporaryDirectory() as folder:
        plain = [_session(file) for file in files]
        profiled = [_session(f, f"{folder}/{i}") for i, f in enumerate(files)]
        times, passes = _in_turns(plain, profiled, seconds)
        texts = [Path(session.end_profiling()) for session in profiled]
        del profiled
        profiles = [of_onnxruntime(text.read_text(), WARM_UP) for text in texts]
    block = convolution_block()
    networks = []
    for point, file, each, profile in zip(points, files, times, profiles, strict=True):
        kernels = plan(onnx.load_from_string(file), block)
        kernel_ms = match(kernels, [KernelTime.of(entry) for entry in profile], block)
        if kernel_ms is None:
            raise SystemExit("the plan of a network is not what its profile shows")
        halves = quick(each[::2].ravel()) / quick(each[1::2].ravel())
        networks.append(
            {
                "widths": point.widths[0].tolist(),
                "kept": point.kept_blocks[0].astype(int).tolist(),
                "substitutes": space.chosen(point)[0].tolist(),
                "macs": space.named_costs(point)["macs"],
                "latency_us": round(quick(each.ravel()) / 1e3, 2),
                "noise_pct": round(100 * abs(float(np.log(halves))), 2),
                "kernel_us": [round(1e3 * ms, 2) for ms in kernel_ms],
            }
        )
    return {
        "prototype": name,
        "seed": SEED,
        "runtime": runtime_name(),
        "processor": _processor(),
        "block": block,
        "threads": 1,
        "passes": passes,
        "networks": networks,
    }


def _session(file: bytes, profile: str | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _in_turns(
    plain: Sequence[Any], profiled: Sequence[Any], seconds: float
) -> tuple[list[np.ndarray], int]:
    """Return (passes, runs) nanoseconds of each network, and the passes."""
    feed = {plain[0].get_inputs()[0].name: np.random.default_rng(0).random((1, 3, 32, 32), "f")}
    times: list[list[list[int]]] = [[] for _ in plain]
    order, passes, end = np.random.default_rng(1), 0, time.monotonic() + seconds
    gc.disable()
    while time.monotonic() < end:
        for place in order.permutation(len(plain)):
            session, taken = plain[place], []
            session.run(None, feed)
            for _ in range(RUNS):
                start = time.perf_counter_ns()
                session.run(None, feed)
                taken.append(time.perf_counter_ns() - start)
            times[place].append(taken)
            for _ in range(PROFILED):
                profiled[place].run(None, feed)
        passes += 1
    gc.enable()
    return [np.array(each) for each in times], passes


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def samples_of(record: dict[str, Any]) -> tuple[list[Sample], Points]:
    """Return a record's networks as samples and as points of the space."""
    space = space_of(record["prototype"])
    networks, random = record["networks"], np.random.default_rng(0)
    points = Points(
        np.array([network["widths"] for network in networks]),
        np.array([network["kept"] for network in networks], bool).reshape(len(networks), -1),
        np.array([network["substitutes"] for network in networks], np.int8),
    )
    samples = []
    for place, network in enumerate(networks):
        model = onnx.load_from_string(file_of(space, points.take([place]), random))
        kernel_ms = tuple(us / 1e3 for us in network["kernel_us"])
        kernels = plan(model, record["block"])
        samples.append(Sample(kernels, network["latency_us"] / 1e3, None, kernel_ms))
    return samples, points


def report(record: dict[str, Any]) -> str:
    """Return what the fifty say of the others."""
    samples, points = samples_of(record)
    taught, told = samples[:TAUGHT], samples[TAUGHT:]
    true = np.array([sample.latency_ms for sample in told])
    macs = np.array([network["macs"] for network in record["networks"]], float)
    known = np.array([sample.latency_ms for sample in taught])
    noise = [network["noise_pct"] for network in record["networks"]]
    estimator = Estimator.fit(taught, PROCESSOR)
    figures = [estimator.latency_ms(sample.kernels) for sample in told]
    rows = [("estimator, 50 networks", np.array([figure.value for figure in figures]))]
    for label, some in (
        ("estimator, 12 networks", taught[:12]),
        ("estimator, 50, no profiles", [Sample(s.kernels, s.latency_ms) for s in taught]),
    ):
        fitted = Estimator.fit(some, PROCESSOR)
        rows.append((label, np.array([fitted.latency_ms(s.kernels).value for s in told])))
    space = space_of(record["prototype"])
    table = space.with_models(tabulate(estimator, space, block=record["block"]))
    rows.append(("estimator's table for a search", table.costs(points)[TAUGHT:, -1]))
    roofline = np.array([Estimator.fit([], PROCESSOR).latency_ms(s.kernels).value for s in samples])
    rows += [
        ("additive table of layers", _layers(taught, told)),
        ("roofline, one factor", roofline[TAUGHT:] * np.median(known / roofline[:TAUGHT])),
        ("roofline, no measurement", roofline[TAUGHT:]),
        ("proportional to MACs", macs[TAUGHT:] * np.median(known / macs[:TAUGHT])),
    ]
    about = (
        f"{len(told)} networks of {true.min():.3f} to {true.max():.3f} ms "
        f"({record['processor']}, {record['runtime']}, blocks of {record['block']}, one thread); "
        f"{record['passes']} passes, halves of which differ by {np.median(noise):.1f} % mostly, "
        f"{max(noise):.1f} % at most."
    )
    lines = [
        f"## {record['prototype']}",
        "",
        about,
        "",
        "| | within 5 % | within 10 % | within 15 % | median error | largest |",
        "|---|---|---|---|---|---|",
        *(_row(label, np.abs(value / true - 1)) for label, value in rows),
        "",
        *(_coverage(figures, true)),
        "",
    ]
    return "\n".join(lines)


def _row(label: str, errors: np.ndarray) -> str:
    within = " | ".join(str(int((errors < limit).sum())) for limit in (0.05, 0.1, 0.15))
    return f"| {label} | {within} | {100 * np.median(errors):.1f} % | {100 * errors.max():.0f} % |"


def _coverage(figures: Sequence[Any], true: np.ndarray) -> list[str]:
    lines = []
    for level in (80, 95):
        ends = [getattr(figure, f"interval{level}") for figure in figures]
        held = sum(low <= t <= high for (low, high), t in zip(ends, true, strict=True))
        wide = np.median([np.log(high / low) / 2 for low, high in ends])
        lines.append(
            f"Intervals of {level} % hold {held} of {len(true)}; half of them are narrower than "
            f"+-{100 * wide:.1f} %."
        )
    return lines


def _layers(taught: Sequence[Sample], told: Sequence[Sample]) -> np.ndarray:
    """Return (networks,) the additive table's milliseconds."""
    entries: dict[str, list[tuple[np.ndarray, float]]] = {}
    for sample in taught:
        for kernel, ms in zip(sample.kernels, sample.kernel_ms or (), strict=True):
            entries.setdefault(kernel.vertex, []).append((_channels(kernel), ms))

    def total(sample: Sample) -> float:
        found = 0.0
        for kernel in sample.kernels:
            known = entries.get(kernel.vertex, [])
            if known:
                gaps = [float(np.abs(at - _channels(kernel)).sum()) for at, _ in known]
                found += known[int(np.argmin(gaps))][1]
        return found

    sums, known = np.array([total(s) for s in taught]), np.array([s.latency_ms for s in taught])
    terms = np.stack([np.ones(len(sums)), sums], axis=1) / known[:, None]
    offset, factor = np.linalg.lstsq(terms, np.ones(len(sums)), rcond=None)[0]
    result: np.ndarray = offset + factor * np.array([total(s) for s in told])
    return result


def _channels(kernel: Kernel) -> np.ndarray:
    sizes = kernel.sizes
    kind = sum(map(ord, kernel.kind)) % 97 * 1000.0  # another kernel is another layer
    whole = sizes.get("channels", 0)
    return np.array([sizes.get("read", whole), sizes.get("written", whole), kind])


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "report"))
    parser.add_argument("prototype", nargs="?", choices=("resnet20", "mobilenet"))
    parser.add_argument("--seconds", type=float, default=180)
    given = parser.parse_args()
    if given.what == "measure":
        record = measure(given.prototype, given.seconds)
        content = json.dumps(record, separators=(",", ":")).replace('{"widths"', '\n{"widths"')
        (RESULTS / f"estimator-{given.prototype}.json").write_text(content + "\n")
        return
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("estimator-*.json"))]
    text = "# Estimates of networks on a processor\n\n" + "\n".join(map(report, records))
    (RESULTS / "estimator.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
