"""A graph and its weights as an ONNX file, written vertex by vertex; no torch.

What can be part of another vertex is folded into it first (`gensynth.export.folding`).

    opset 13, IR 7    the newest that TensorRT 8.2 (JetPack 4.6, the last for a TX2) reads
    inputs            'images', or the vertices' names when there are several
    outputs           'logits' for one vector, else 'output'; the vertices' names when several
    batch             named 'batch' and free, unless it is fixed
    nodes             named after their vertices, so that a parser's error or a profile maps back

The same graph and weights give the same bytes: nothing of the time, the machine or the
order of a dict goes in.
"""

from collections.abc import Collection, Mapping

from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper, shape_inference

from gensynth.errors import ExportError
from gensynth.export.folding import fold
from gensynth.export.operators import EMIT, SINCE
from gensynth.export.writer import Array, Writer
from gensynth.graph.graph import Graph, Vertex

IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8}
"""IR version that came with each opset (onnx, docs/Versioning.md). At 18 ReduceMean's axes
become an input, which TensorRT 8.2 ignores without a word."""


def to_onnx(
    graph: Graph,
    weights: Mapping[str, Array],
    *,
    opset: int = 13,
    batch: int | None = None,
    operators: Collection[str] | None = None,
    parts: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a network as the bytes of an ONNX file.

    The file has passed ONNX's full checker, and the shape that ONNX infers for every
    vertex is the one the graph says. That it computes the right numbers is
    `gensynth.export.parity`'s to show.

    Args:
        graph: what to write.
        weights: every weight and buffer by its state-dict key; others are ignored.
        opset: 13 to 17.
        batch: images in one run; None leaves it free.
        operators: that may be used of those in `gensynth.export.operators.SINCE`, besides the
            ones every target has; None for all of the opset.
        parts: an ONNX file of the same opset for each opaque vertex that can be written; its
            inputs are the vertex's, in order.

    Raises:
        ExportError: if the opset is not one of these, a vertex cannot be written (it is
            opaque, say), a weight is not finite, or the file does not pass the checks.
        ValueError: if a weight is missing or has another shape than the graph says, or
            `batch` is not positive.
    """
    if opset not in IR_VERSIONS:
        raise ExportError(f"opset must be one of 13 to 17, got {opset}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    inputs, outputs = _input_names(graph), _output_names(graph)
    folded = fold(graph, weights)
    graph = folded.graph
    native = {
        operator
        for operator, since in SINCE.values()
        if since <= opset and (operators is None or operator in operators)
    }
    writer = Writer(graph, folded.weights, [*inputs.values(), *outputs], native)
    values = dict(inputs)
    owed = dict(zip(outputs, graph.outputs, strict=True))
    splits = _splits(graph)
    for vertex in graph.vertices:
        if vertex.name in values:  # an input, or written with its siblings
            continue
        siblings = splits.get(vertex.name, (vertex,))
        wanted = {name: output for output, name in reversed(owed.items())}
        reads = tuple(values[name] for name in vertex.inputs)
        if len(siblings) > 1:
            values.update(writer.split(siblings, reads[0], wanted))
        else:
            opaque = (parts or {}).get(vertex.name) if vertex.op == "opaque" else None
            value = (
                EMIT[vertex.op](writer, vertex, reads)
                if opaque is None
                else writer.part(vertex, reads, opaque)
            )
            values[vertex.name] = writer.close(vertex, value, wanted.get(vertex.name))
        for sibling in siblings:
            owed.pop(wanted.get(sibling.name, ""), None)
    for output, name in owed.items():  # an input that is an output, or one vertex twice
        writer.close(graph[name], values[name], output)
    size: int | str = "batch" if batch is None else batch
    read = {name for node in writer.nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph.name or "network",
            [_value_info(name, graph[vertex].shape, size) for vertex, name in inputs.items()],
            [
                _value_info(name, graph[vertex].shape, size)
                for name, vertex in zip(outputs, graph.outputs, strict=True)
            ],
            sorted(
                # A part that torch's exporter wrote may hold some that nothing reads.
                (tensor for tensor in writer.initializers if tensor.name in read),
                key=lambda tensor: tensor.name,
            ),
            value_info=[  # ONNX cannot always infer what torch's exporter wrote
                _value_info(values[vertex.name], vertex.shape, size)
                for vertex in graph.vertices
                if vertex.op == "opaque" and values[vertex.name] not in outputs
            ],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSIONS[opset],
        producer_name="gensynth",
    )
    _verify(model, graph, values)
    return model.SerializeToString(deterministic=True)


def _splits(graph: Graph) -> dict[str, tuple[Vertex, ...]]:
    """Return slices that are, one after the other, all of a value, by the first that is met."""
    slices: dict[str, list[Vertex]] = {}
    for vertex in graph.vertices:
        if vertex.op == "slice":
            slices.setdefault(vertex.inputs[0], []).append(vertex)
    found = {}
    for source, parts in slices.items():
        ordered = sorted(parts, key=lambda part: int(part.attributes["start"]))
        stops = [0, *(int(part.attributes["stop"]) for part in ordered)]
        starts = [*(int(part.attributes["start"]) for part in ordered), graph[source].shape[0]]
        if len(parts) > 1 and starts == stops:
            found[parts[0].name] = tuple(ordered)
    return found


def _input_names(graph: Graph) -> dict[str, str]:
    """Name in the file of each input vertex."""
    names = [vertex.name for vertex in graph.inputs]
    return {names[0]: "images"} if len(names) == 1 else {name: name for name in names}


def _output_names(graph: Graph) -> list[str]:
    """Name in the file of each output, none of them twice or an input's."""
    if len(graph.outputs) == 1:
        return ["logits" if len(graph[graph.outputs[0]].shape) == 1 else "output"]
    taken = set(_input_names(graph).values())
    names: list[str] = []
    for wanted in graph.outputs:
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}:{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _value_info(name: str, shape: tuple[int, ...], batch: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])


def _verify(model: ModelProto, graph: Graph, values: Mapping[str, str]) -> None:
    """Run ONNX's checker, and compare the shapes it infers with the graph's."""
    try:
        checker.check_model(model, full_check=True)
        inferred = shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(f"graph {graph.name!r} does not make a valid ONNX file: {error}") from (
            error
        )
    shapes = {
        info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim)[1:]
        for info in inferred.graph.value_info
    }
    for vertex in graph.vertices:
        found = shapes.get(values[vertex.name], tuple(vertex.shape))
        if found != tuple(vertex.shape):
            raise ExportError(
                f"vertex {vertex.name!r} should compute {tuple(vertex.shape)}, but ONNX infers "
                f"{found} for an image"
            )
