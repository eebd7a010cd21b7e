"""Are the bench's figures true? Four questions, asked of this machine by the bench itself.

    overhead   seconds that a local job takes beside its warm-up and its measuring; under 1
    loop       p50 against ONNX Runtime's own timing loop, for the same file and settings, in turns
               within one run; within 3 % for every file
    equals     200 quick-grade comparisons of a file with itself: the 95 % interval of the ratio
               holds 1 in at least 90 %
    planted    20 quick-grade comparisons of 40 equal layers with 42 of them, a slowdown of 5 %:
               the interval is above 1 in at least 19

The files are public: onnx's light models, and those that rapidocr-onnxruntime, silero-vad and
magika ship, once they lie in a folder:

    pip install --no-deps --target FOLDER rapidocr-onnxruntime==1.4.4 silero-vad magika
    python -m experiments.bench.truth --packages FOLDER

On a quiet machine that takes about 100 minutes, 80 of them for `equals`. Each trial is kept in
results/truth.jsonl as it ends, and a run that was stopped goes on there; results/truth.md and
truth.json are made from it at the end, or by --report alone. A trial notes the machine's load
as it began, since a busy machine is no judge.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from experiments.bench.report import write_report
from gensynth.atomic_files import append
from gensynth.bench.compare import paired_ratio
from gensynth.bench.grades import Grade, Warmup, find_grade
from gensynth.bench.request import Request
from gensynth.bench.session import answer
from gensynth.bench.store import Store
from gensynth.bench.subjects import Subject, find, read
from gensynth.devices.local import facts
from gensynth.devices.registry import LOCAL
from gensynth.environment import environment
from gensynth.progress import SILENT

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
BLOCK_S = 1.5
PAIRS = 8

# Both loops of a pair begin with a new process, so that where its memory lies is drawn anew.
LOOP = """
import json, sys, time, timeit
import numpy as np, onnxruntime
file, feed, block_s = sys.argv[1], dict(np.load(sys.argv[2])), float(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
once = min(timeit.repeat(lambda: session.run(None, feed), number=1, repeat=5))
runs = max(5, int(block_s / once))
# onnxruntime/transformers/benchmark_helper.py, inference_ort: the same two lines.
timeit.repeat(lambda: session.run(None, feed), number=1, repeat=max(5, runs // 4))
print(json.dumps(timeit.repeat(lambda: session.run(None, feed), number=1, repeat=runs)))
"""


@dataclass(frozen=True)
class Public:
    """A public file and what it is fed.

    Attributes:
        name: in the tables.
        path: below the packages' folder, or of onnx's light models.
        shapes: of inputs that the file leaves free.
        values: of inputs that are numbers.
    """

    name: str
    path: str
    shapes: Mapping[str, Sequence[int]]
    values: Mapping[str, int]

    def subject(self, packages: Path) -> Subject:
        """Read it."""
        folder = LIGHT if self.path.startswith("light_") else packages
        (source,) = find([folder / self.path])
        inputs = {name: np.array(value, np.int64) for name, value in self.values.items()}
        return read(source, shapes=self.shapes, inputs=inputs)


FILES = (
    Public("onnx squeezenet", "light_squeezenet.onnx", {}, {}),
    Public("onnx shufflenet", "light_shufflenet.onnx", {}, {}),
    Public("onnx resnet50", "light_resnet50.onnx", {}, {}),
    Public("magika", "magika/models/standard_v3_3/model.onnx", {}, {}),
    Public(
        "rapidocr classifier", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        {"x": (1, 3, 48, 192)}, {},
    ),
    Public(
        "rapidocr detector", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        {"x": (1, 3, 320, 320)}, {},
    ),
    Public(
        "silero-vad", "silero_vad/data/silero_vad.onnx",
        {"input": (1, 512), "state": (2, 1, 128)}, {"sr": 16000},
    ),
)  # fmt: skip


class Journal:
    """The trials so far, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.trials: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def of(self, part: str) -> list[dict[str, Any]]:
        """Return the trials of a part."""
        return [trial for trial in self.trials if trial["part"] == part]

    def keep(self, part: str, load: float, **figures: Any) -> None:
        """Append a trial."""
        trial = {
            "part": part,
            "utc": time.strftime("%FT%TZ", time.gmtime()),
            "load": load,
            **figures,
        }
        self.trials.append(trial)
        append(self._path, json.dumps(trial, allow_nan=False).encode() + b"\n")
        print(
            json.dumps({key: value for key, value in trial.items() if key != "rounds"}), flush=True
        )


def main() -> None:
    """Ask what is not answered yet, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, help="the folder that pip filled")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--parts", default="overhead,loop,planted,equals")
    parser.add_argument("--equals", type=int, default=200)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--files", default=",".join(public.name for public in FILES))
    parser.add_argument("--report", action="store_true", help="only write the report anew")
    given = parser.parse_args()
    wanted = [public for public in FILES if public.name in given.files.split(",")]
    given.results.mkdir(parents=True, exist_ok=True)
    journal = Journal(given.results / "truth.jsonl")
    if not given.report:
        if given.packages is None:
            parser.error("--packages FOLDER is needed, see the head of this file")
        subjects = {public.name: public.subject(given.packages) for public in wanted}
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GENSYNTH_AGENT_HOME"] = str(Path(folder) / "agent")
            bench = Bench(Path(folder), subjects)
            parts = {
                "overhead": lambda: bench.overhead(journal, 10),
                "loop": lambda: bench.loop(journal, given.pairs),
                "planted": lambda: bench.planted(journal, given.planted),
                "equals": lambda: bench.equals(journal, given.equals),
            }
            for part in given.parts.split(","):
                parts[part]()
        (given.results / "machine.json").write_text(
            json.dumps({**environment(), **facts(), "files": versions(given.packages)}, indent=1)
            + "\n"
        )
    write_report(journal.trials, given.results)


class Bench:
    """The bench with a store and an agent's folder of its own."""

    def __init__(self, folder: Path, subjects: Mapping[str, Subject]) -> None:
        self._folder = folder
        self._store = Store(folder / "measurements.sqlite")
        self._subjects = subjects

    def overhead(self, journal: Journal, count: int) -> None:
        """Time whole jobs, less what they say that they have warmed up and measured."""
        warmup = Warmup(min_s=0.0, block_s=0.1, agree_pct=100.0, cap_s=1.0)
        grade = Grade("quick", warmup, rounds=4, round_s=0.1, energy=None)
        subject = self._layers(1)
        self._measure(grade, subject)  # the agent's file is there from now on
        while len(journal.of("overhead")) < count:
            load, start = load_now(), time.perf_counter()
            record = self._measure(grade, subject)
            total_s = time.perf_counter() - start
            seconds = record["seconds"]["latency"]
            journal.keep("overhead", load, total_s=total_s, beside_s=total_s - seconds)

    def loop(self, journal: Journal, pairs: int) -> None:
        """Hold p50 against ONNX Runtime's own loop, one block of each in turns."""
        warmup = Warmup(min_s=0.0, block_s=BLOCK_S / 12, agree_pct=100.0, cap_s=1.0)
        grade = Grade("quick", warmup, rounds=1, round_s=BLOCK_S, energy=None)
        done = {trial["file"] for trial in journal.of("loop")}
        for name, subject in self._subjects.items():
            if name in done:
                continue
            load = load_now()
            ours, theirs = self._in_turns(grade, subject, pairs)
            p50 = [float(np.median(np.concatenate(blocks))) for blocks in (ours, theirs)]
            paired = paired_ratio(ours, theirs)
            journal.keep(
                "loop", load, file=name, ours_p50_ms=p50[0], theirs_p50_ms=p50[1],
                ratio=p50[0] / p50[1], paired=[paired.low, paired.value, paired.high],
                n=[sum(map(len, ours)), sum(map(len, theirs))], pairs=pairs,
            )  # fmt: skip

    def _in_turns(
        self, grade: Grade, subject: Subject, pairs: int
    ) -> tuple[list[list[float]], list[list[float]]]:
        """Return the blocks of the bench and of the other loop: ABBABAAB."""
        ours: list[list[float]] = []
        theirs: list[list[float]] = []
        for number in range(pairs):
            turns = "AB" if number.bit_count() % 2 == 0 else "BA"
            for turn in turns:
                if turn == "A":
                    ours.append(self._ours(grade, subject))
                else:
                    theirs.append(self._theirs(subject))
        return ours, theirs

    def equals(self, journal: Journal, count: int) -> None:
        """Compare files with themselves."""
        names = list(self._subjects)
        while len(journal.of("equals")) < count:
            name = names[len(journal.of("equals")) % len(names)]
            subject = self._subjects[name]
            self._compare(journal, "equals", name, subject, subject)

    def planted(self, journal: Journal, count: int) -> None:
        """Compare 40 layers with 42 of them."""
        less, more = (self._layers(count) for count in (40, 42))
        while len(journal.of("planted")) < count:
            self._compare(journal, "planted", "40 and 42 layers", less, more)

    def _compare(
        self, journal: Journal, part: str, name: str, one: Subject, other: Subject
    ) -> None:
        load, start = load_now(), time.perf_counter()
        record = self._measure(find_grade("quick"), one, other)
        ratio = record["networks"][1]["ratio"]["latency"]
        journal.keep(
            part, load, file=name, ratio=ratio["value"], ci95=ratio["ci95"],
            p50_ms=[network["latency"]["p50_ms"] for network in record["networks"]],
            status=record["status"], seconds=time.perf_counter() - start,
        )  # fmt: skip

    def _measure(self, grade: Grade, *subjects: Subject) -> dict[str, Any]:
        named = [  # a file beside itself has two names
            Subject(f"{subject.name}{place}", subject.content, subject.feed, "", subject.batch)
            for place, subject in enumerate(subjects)
        ]
        request = Request(LOCAL, tuple(named), grade)
        return answer(request, fresh=True, store=self._store, listener=SILENT)

    def _ours(self, grade: Grade, subject: Subject) -> list[float]:
        record = self._measure(grade, subject)
        times = self._store.raw(record["networks"][0]["latency"]["raw"])
        milliseconds: list[float] = (np.frombuffer(times, "<u8") / 1e6).tolist()
        return milliseconds

    def _theirs(self, subject: Subject) -> list[float]:
        file, feed = self._folder / "loop.onnx", self._folder / "feed.npz"
        file.write_bytes(subject.content)
        np.savez(feed, **subject.feed)  # type: ignore[arg-type]
        command = [sys.executable, "-c", LOOP, str(file), str(feed), str(BLOCK_S)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [1000 * seconds for seconds in json.loads(done.stdout)]

    def _layers(self, count: int) -> Subject:
        path = self._folder / f"{count}.onnx"
        path.write_bytes(chain(count))
        return read(find([path])[0])


def chain(count: int) -> bytes:
    """Return a file of so many equal convolutions in a row, so that time grows with them."""
    weight = np.random.default_rng(0).normal(0, 0.06, (32, 32, 3, 3)).astype(np.float32)
    nodes, value = [], "x"
    for number in range(count):
        nodes.append(helper.make_node("Conv", [value, "w"], [f"c{number}"], pads=[1, 1, 1, 1]))
        value = f"c{number}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 16, 16])
        for name in ("x", value)
    ]
    graph = helper.make_graph(
        nodes, "chain", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    opsets = [helper.make_opsetid("", 13)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=8
    ).SerializeToString()
    return content


def load_now() -> float:
    """Return how many processes ran in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def versions(packages: Path) -> dict[str, str]:
    """Return name and version of what ships the files."""
    found = dict(_installed(packages))
    return {**found, "onnx": metadata.version("onnx")}


def _installed(packages: Path) -> Iterator[tuple[str, str]]:
    for distribution in metadata.distributions(path=[str(packages)]):
        yield distribution.metadata["Name"], distribution.version


if __name__ == "__main__":
    main()
