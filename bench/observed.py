"""Sizes of a network's values as a run on this machine's processor shows them.

For files whose sizes do not follow from the file: shapes computed by the network itself, which
the inference of shapes gives up on. They hold for the inputs of that run.
"""

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto

from gensynth.errors import ExportError
from gensynth.export.runtime import open_session


def observed_shapes(
    model: ModelProto, feed: Mapping[str, np.ndarray], values: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Return the sizes of values in one run; none if this machine cannot run the file.

    Args:
        model: the file; it is left as it is.
        feed: an array for each input.
        values: names of what operators compute.
    """
    shown = ModelProto()
    shown.CopyFrom(model)
    computed = {name for node in model.graph.node for name in node.output}
    present = {value.name for value in model.graph.output}
    wanted = sorted((computed & set(values)) - present)
    shown.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    names = [value.name for value in shown.graph.output]
    try:
        outputs = open_session(shown.SerializeToString()).run(dict(feed))
    except ExportError:
        return {}
    return {name: np.shape(output) for name, output in zip(names, outputs, strict=True)}
