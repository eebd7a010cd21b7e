"""The doors of ONNX files and of artefacts."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper

from gensynth.bench.subjects import find, read
from gensynth.export.acceptance import inspect
from gensynth.export.artefact import make, write
from gensynth.export.targets import find_target, names
from gensynth.export.verify import verify
from tests.export.sources import source
from tests.fuzz.doors import Try
from tests.fuzz.mutations import of_bytes, of_json, of_proto
from tests.onnx_files import small
from tests.onnx_files.written import convolution, unary, written


def _files(place: Path) -> list[onnx.ModelProto]:
    """Some small files, of many operators."""
    found = [
        convolution(place / "a.onnx"),
        unary(place / "b.onnx", "Relu", ("N", 3, 8, 8)),
        written(
            place / "c.onnx",
            "g (float[1,4,8,8] x) => (float[1,2,16,16] y)"
            "{ h = ConvTranspose <strides = [2,2], pads = [1,1,1,1], output_padding = [1,1]> (x, w)"
            " s = Shape (h) c = Constant <value = int64[4] {1,2,16,16}> () y = Reshape (h, c) }",
            w=np.ones((4, 2, 3, 3), np.float32),
        ),
        written(
            place / "d.onnx",
            "g (float[1,3,8] x) => (float[1,3,4] y, float[1,3,8] z)"
            "{ y = MatMul (x, w) a, b = Split <axis = 2> (x) z = Concat <axis = 2> (a, b) }",
            w=np.ones((8, 4), np.float32),
        ),
        written(
            place / "e.onnx",
            "g (float[2,6] x) => (float[2,5] y) { h = Gemm <transB = 1> (x, w, c)"
            " t = Transpose <perm = [0,1]> (h) e = Einsum <equation = \"ij,jk->ik\"> (t, v)"
            " y = Clip (e, l, l) }",
            w=np.ones((4, 6), np.float32), c=np.ones(4, np.float32), v=np.ones((4, 5), np.float32),
            l=np.array(1, np.float32),
        ),
    ]  # fmt: skip
    models = [onnx.load(path) for path in found]
    models += [
        onnx.load_from_string(content)
        for content in (small.convolution(), small.convolution(quantised=True), small.picking())
    ]
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["o"])], "then", [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [2, 2])],
    )  # fmt: skip
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    values = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2]),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    graph = helper.make_graph([branch], "g", values, [out])
    models.append(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    return models


def count(place: Path) -> Try:
    """Return the door of a file that is measured: read, fed and counted."""
    models = _files(place)

    def attempt(random: Random) -> None:
        file = place / "tried.onnx"
        file.write_bytes(of_proto(random, random.choice(models)))
        subject = read(find([file])[0], shapes={"x": (1, 3, 8, 8)} if random.randrange(4) else None)
        _ = subject.cost, subject.structure, subject.opset

    return attempt


def inspected(place: Path) -> Try:
    """Return the door of a file that is held against a target."""
    models = _files(place)
    targets = [find_target(name) for name in names()]
    models += [
        onnx.load_from_string(make(source(), t, precision="fp32", batch=None).files["network.onnx"])
        for t in targets[:2]
    ]

    def attempt(random: Random) -> None:
        target = random.choice(targets)
        model = random.choice(models)
        if random.randrange(2):
            model.opset_import[0].version = target.opset
        inspect(of_proto(random, model), target)

    return attempt


def verified(place: Path) -> Try:
    """Return the door of an artefact, whose manifest may give the altered file's hash."""
    made = [
        make(source(), find_target("jetson-tx2"), precision="fp16", batch=None),
        make(source(), find_target("x86-cpu"), precision="fp32", batch=None),
    ]
    for number, one in enumerate(made):
        write(one, place / str(number))
    files = ("manifest.json", "network.onnx", "graph.json", "weights.safetensors", "samples.npz")
    kept = [{name: one.files[name] for name in files} for one in made]

    def attempt(random: Random) -> None:
        which, name = random.randrange(len(made)), random.choice((files[0], *files))
        at = place / "tried"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(place / str(which), at)
        content = kept[which][name]
        if name.endswith(".json"):
            altered = of_json(random, json.loads(content))
        elif name == "network.onnx":
            altered = of_proto(random, onnx.load_from_string(content))
        else:
            altered = of_bytes(random, content)
        (at / name).write_bytes(altered)
        if name != "manifest.json" and random.randrange(4):
            manifest = json.loads(kept[which]["manifest.json"])
            manifest["files"][name] = hashlib.sha256(altered).hexdigest()
            (at / "manifest.json").write_text(json.dumps(manifest))
        verify(at)

    return attempt


DOORS: dict[str, Callable[[Path], Try]] = {
    "count": count,
    "inspect": inspected,
    "verify": verified,
}
