"""Run the opset-13 files in ONNX Runtime 1.10, the last one for the Python 3.6 of a TX2.

    python3.6 -m venv OLD && OLD/bin/pip install onnxruntime==1.10.0 pillow
    python -m experiments.export.old_runtime --python OLD/bin/python

writes experiments/export/old_runtime.json: for each row of the table of targets the difference
to its network, as it is computed there, in units of the largest output; the same for a file in
INT8; what the example of an artefact said there; and all operators that were run. A fixed batch
(jetson-tx2) and a free one (raspberry-pi) of every row.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.export.table import ROWS, sub_network
from gensynth.export.acceptance import inspect
from gensynth.export.artefact import make, write
from gensynth.export.from_torch import from_network
from gensynth.export.int8 import Quantizer
from gensynth.export.metadata import Reading
from gensynth.export.source import Source
from gensynth.export.targets import find_target
from gensynth.network.module import Network
from gensynth.tasks.classification import Classification

HERE = Path(__file__).resolve().parent
RECORD = HERE / "old_runtime.json"
TARGETS = ("jetson-tx2", "raspberry-pi")
IN_INT8 = "resnet"

# Runs there: Python 3.6, ONNX Runtime and numpy alone.
THERE = """
import glob, json, sys
import numpy, onnxruntime
found = {"python": sys.version.split()[0], "onnxruntime": onnxruntime.__version__,
         "numpy": numpy.__version__, "files": {}}
for path in sorted(glob.glob(sys.argv[1] + "/*.onnx")):
    with numpy.load(path[:-5] + ".npz") as held:
        given = [held["x%d" % i] for i in range(int(held["inputs"]))]
        wanted = [held["y%d" % i] for i in range(int(held["outputs"]))]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    computed = session.run(None, dict(zip(names, given)))
    worst = max(abs(a - b).max() / abs(b).max() for a, b in zip(computed, wanted))
    found["files"][path.split("/")[-1][:-5]] = float(worst)
print(json.dumps(found))
"""


def put(folder: Path, name: str, content: bytes, network: Network, images: Any) -> None:
    """Write a file beside one image and the network's outputs for it."""
    images = tuple(x[:1] for x in images)
    with torch.no_grad():
        outputs = network.eval()(*images)
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    arrays = {f"x{i}": x.numpy() for i, x in enumerate(images)}
    arrays |= {f"y{i}": y.numpy() for i, y in enumerate(several)}
    counts = {"inputs": np.array(len(images)), "outputs": np.array(len(several))}
    (folder / f"{name}.onnx").write_bytes(content)
    np.savez(folder / f"{name}.npz", **arrays, **counts)  # type: ignore[arg-type]


def prepare(folder: Path) -> list[str]:
    """Write all files into a folder; return the operators in them."""
    operators: set[str] = set()
    for row in ROWS:
        network, images = sub_network(row)
        for name in TARGETS:
            target = find_target(name)
            batch = 1 if target.batch == "fixed" else None
            content = from_network(
                network, opset=target.opset, batch=batch, operators=target.operators
            )
            operators |= {*inspect(content, target).operators}
            put(folder, f"{row} {name}", content, network, images)
            if row == IN_INT8:
                scheme = "tensorrt" if target.tensorrt else "processor"
                rounded = Quantizer(content, images[0].numpy(), scheme).write()
                operators |= {*inspect(rounded, target).operators}
                put(folder, f"{row} {name} int8", rounded, network, images)
    return sorted(operators)


def example(folder: Path, python: str) -> str:
    """Return what the example of an artefact says there of the artefact's sample."""
    network, _ = sub_network(IN_INT8)
    shape = network.graph.inputs[0].shape
    classes = tuple("abcdefghij"[: network.graph[network.graph.outputs[0]].shape[0]])
    reading = Reading(tuple(shape), (0.5,) * 3, (0.25,) * 3, "rgb", classes)  # type: ignore[arg-type]
    source = Source("small", network.eval(), reading, Classification(), None, "made up")
    write(make(source, find_target("raspberry-pi"), precision="fp32", batch=None), folder / "small")
    command = [python, "example_onnx.py", "sample.png"]
    done = subprocess.run(command, cwd=folder / "small", capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Write the files, run them there, and keep what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of an environment with the old runtime")
    python = str(Path(parser.parse_args().python).absolute())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        operators = prepare(folder)
        done = subprocess.run([python, "-c", THERE, name], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found = json.loads(done.stdout)
        found["example"] = example(folder, python)
    found["opset"], found["ir"], found["operators"] = 13, 7, operators
    RECORD.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    print(found["python"], found["onnxruntime"], len(found["files"]), max(found["files"].values()))


if __name__ == "__main__":
    main()
