"""How images become what a network reads, and what an ONNX file says of that and of itself.

Netron and ONNX Runtime show it:

    producer          gensynth and its version
    graph name        the network's own
    value_info        the shape of every value within, as far as ONNX infers it
    metadata          strings by key; whatever is no text is JSON:

        classes           names, in the order of the outputs
        reads             how an image becomes what the network reads, as in a manifest
        task              "class", "mask" or "boxes": what the outputs are
        requirements      as they were asked
        card_sha256       of the card.json beside it, in an artefact
        weights_sha256    of the weights.safetensors that it was written from
        builder_fp32_layers
                          nodes that TensorRT's builder keeps in FP32 where a flag allows FP16

    onnxruntime.InferenceSession(FILE).get_modelmeta().custom_metadata_map["classes"]

The same facts give the same bytes: nothing of the time or the machine goes in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

import numpy as np
from onnx import ModelProto, helper, shape_inference
from pydantic import AfterValidator
from typing_extensions import TypedDict

from gensynth import __version__
from gensynth.config_file import read
from gensynth.errors import ExportError
from gensynth.export.manifest import Reads, of_as_many
from gensynth.goals.card import read_card
from gensynth.outside import Form
from gensynth.run_files import RUN_FILE, run_of

if TYPE_CHECKING:
    from gensynth.export.manifest import Manifest

KEYS = (
    "classes", "reads", "task", "requirements", "card_sha256", "weights_sha256",
    "builder_fp32_layers",
)  # fmt: skip


class _Facts(TypedDict):
    """What is asked of a file's metadata."""

    classes: NotRequired[list[str]]
    reads: NotRequired[Annotated[Reads, AfterValidator(of_as_many)]]
    task: NotRequired[str]
    requirements: NotRequired[list[str]]
    card_sha256: NotRequired[str]
    weights_sha256: NotRequired[str]
    builder_fp32_layers: NotRequired[list[str]]


_FACTS: Form[_Facts] = Form(_Facts)


@dataclass(frozen=True)
class Reading:
    """How an image becomes what the network reads: (image / 255 - mean) / std.

    Attributes:
        shape: (channels, height, width).
        mean, std: one number a channel.
        colour: "rgb", "bgr" or "grey".
        classes: names, in the order of the logits.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour: str
    classes: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, channels, height, width), uint8 -> the same shape, float32."""
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        values: np.ndarray = (images.astype(np.float32) / np.float32(255) - mean) / std
        return values

    @classmethod
    def of(cls, manifest: "Manifest | Mapping[str, Any]") -> "Reading":
        """Return the reading that a manifest tells."""
        reads = manifest["reads"]
        mean, std = tuple(reads["mean"]), tuple(reads["std"])
        shape = (len(mean), reads["height"], reads["width"])
        return cls(shape, mean, std, reads["colour"], tuple(manifest["classes"]))

    def to_document(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        channels, height, width = self.shape
        return {
            "formula": "(image / 255 - mean) / std, channels first",
            "mode": "L" if channels == 1 else "RGB",
            "colour": self.colour,
            "height": height,
            "width": width,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def reading_of(folder: Path) -> Reading:
    """Return how the network in a folder with a card reads images.

    Raises:
        RunError: as `gensynth.goals.card.read_card`.
        ConfigError: if the run file above it is damaged.
    """
    data, run = read_card(folder)["data"], run_of(folder)
    channels, height, width = data["shape"]
    asked = "rgb" if run is None else read(run / RUN_FILE).data.colour
    colour = "grey" if channels == 1 else "bgr" if asked == "bgr" else "rgb"
    mean, std, classes = (tuple(data[key]) for key in ("mean", "std", "classes"))
    return Reading((channels, height, width), mean, std, colour, classes)


def described(content: bytes, *, name: str, facts: Mapping[str, Any]) -> bytes:
    """Return an ONNX file that says what it is; what it computes is as before.

    Args:
        content: the file.
        name: of the network.
        facts: values by `KEYS`; what is None is left out.
    """
    model = ModelProto.FromString(content)
    model.producer_name, model.producer_version = "gensynth", __version__
    model.graph.name = name
    said = {key: value for key, value in facts.items() if value is not None}
    told = {k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in said.items()}
    helper.set_model_props(model, dict(sorted(told.items())))
    inferred = shape_inference.infer_shapes(model).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(sorted(inferred, key=lambda value: value.name))
    return model.SerializeToString(deterministic=True)


def keeping_in_fp32(content: bytes, nodes: Sequence[str]) -> bytes:
    """Return an ONNX file that says which nodes a builder keeps in FP32, and all that it said."""
    model = ModelProto.FromString(content)
    key = "builder_fp32_layers"
    told = {entry.key: entry.value for entry in model.metadata_props if entry.key != key}
    if nodes:
        told[key] = json.dumps(list(nodes))
    helper.set_model_props(model, dict(sorted(told.items())))
    return model.SerializeToString(deterministic=True)


def kept_in_fp32(model: ModelProto) -> list[str]:
    """Return the nodes that a file wants in FP32.

    Raises:
        ExportError: if what it says of that is no list of its nodes.
    """
    told = {entry.key: entry.value for entry in model.metadata_props}.get("builder_fp32_layers")
    if told is None:
        return []
    try:
        found = json.loads(told)
    except (ValueError, RecursionError):
        found = None
    names = {node.name for node in model.graph.node}
    if not isinstance(found, list) or not all(isinstance(n, str) and n in names for n in found):
        raise ExportError(
            "the file's metadata must name nodes of it as builder_fp32_layers, got "
            f"{told[:80]!r}; write it again with: gensynth export"
        )
    return found


def facts_of(told: Mapping[str, str]) -> dict[str, Any]:
    """Return facts from the strings of a file's metadata; keys of others are left out.

    Raises:
        ValueError: if one that is no text is not JSON, or of another form than it must be.
    """
    plain = ("task", "card_sha256", "weights_sha256")
    try:
        found = {
            key: told[key] if key in plain else json.loads(told[key]) for key in KEYS & told.keys()
        }
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    return dict(_FACTS.check(found))
