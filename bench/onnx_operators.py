"""Which operators of ONNX files multiply, and how much: ONNX's own and ONNX Runtime's.

An operator is free only if it is known to be: one that is in no table here may multiply, and then
there is no count. Each is known by its domain and its name, since ONNX Runtime has operators of
its own that stand in files which it has optimised and saved.

    ""                    ONNX's own
    com.microsoft         ONNX Runtime's, such as a convolution with its activation
    com.microsoft.nchwc   convolutions in blocks of channels, which are padded to whole blocks
    com.ms.internal.nhwc  ONNX's own with the channels last
    ai.onnx.ml            trees, vector machines: their numbers are attributes
"""

from dataclasses import dataclass
from functools import cache

import onnx
from onnx import AttributeProto, NodeProto, TensorProto

RUNTIME = "com.microsoft"
_INTERNAL = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}


@dataclass(frozen=True)
class Convolution:
    """Each element of the output is a sum over a row of the weight: (out, in / groups, *kernel).

    Attributes:
        weight: its place among the inputs.
    """

    weight: int = 1


@dataclass(frozen=True)
class Product:
    """Each element of the output is a sum over the last dimension of the first input.

    Attributes:
        turned: the attribute by which it is the last but one; None without.
    """

    turned: str | None = None


@dataclass(frozen=True)
class Transposed:
    """Each element of the first input meets a row of the second: (in, out / groups, *kernel)."""


Work = Convolution | Product | Transposed

_BRANCHING = {"If", "Loop", "Scan", "SequenceMap"}
_WORK: dict[str, dict[str, Work]] = {
    "": {
        "Conv": Convolution(), "ConvInteger": Convolution(), "QLinearConv": Convolution(3),
        "ConvTranspose": Transposed(), "Gemm": Product("transA"), "MatMul": Product(),
        "MatMulInteger": Product(), "QLinearMatMul": Product(),
    },
    RUNTIME: {
        "FusedConv": Convolution(), "NhwcFusedConv": Convolution(), "NhwcConv": Convolution(),
        "QLinearConv": Convolution(3), "FusedGemm": Product("transA"), "QGemm": Product("transA"),
        "GemmFloat8": Product("transA"), "FusedMatMul": Product("transA"),
        "FusedMatMulActivation": Product("transA"), "TransposeMatMul": Product("transA"),
        "DynamicQuantizeMatMul": Product(), "MatMulIntegerToFloat": Product(),
        "MatMulInteger16": Product(), "MatMulNBits": Product(), "MatMulBnb4": Product(),
        "MatMulFpQ4": Product(), "GemmFastGelu": Product(),
    },
}  # fmt: skip
_WORK |= dict.fromkeys(sorted(_INTERNAL), _WORK[""] | _WORK[RUNTIME])
_UNCOUNTED = {
    "Einsum", "LSTM", "GRU", "RNN", "DeformConv", "Attention", "LinearAttention", "DFT", "STFT",
    "Det", "CausalConvWithState",
}  # fmt: skip
"""ONNX's own that multiply and are not counted."""
_FREE = frozenset(
    """ReorderInput ReorderOutput MaxPool AveragePool GlobalAveragePool GlobalMaxPool Upsample
    NhwcMaxPool Gelu BiasGelu FastGelu QuickGelu BiasSplitGelu BiasAdd BiasSoftmax BiasDropout
    SkipLayerNormalization EmbedLayerNormalization SimplifiedLayerNormalization GroupNorm
    SkipSimplifiedLayerNormalization SkipGroupNorm QuantizeLinear DequantizeLinear
    DynamicQuantizeLinear QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearSoftmax
    QLinearConcat QLinearAveragePool QLinearGlobalAveragePool QLinearReduceMean QLinearWhere
    Pad Trilu Unique Range ExpandDims GatherND GridSample IsAllFinite Transpose
    MaxpoolWithMask RestorePadding RemovePadding""".split()
)
"""ONNX Runtime's that sum no products."""
_PACKED = {"MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "QMoE"}


def name_of(node: NodeProto) -> str:
    """Return an operator's name for people, its domain with it where it is not ONNX's own."""
    return f"{node.op_type} of {node.domain}" if _domain(node) else str(node.op_type)


def is_branching(node: NodeProto) -> bool:
    """Return whether what a node runs depends on its input."""
    return not _domain(node) and node.op_type in _BRANCHING


def work_of(node: NodeProto) -> Work | None:
    """Return how a node multiplies; None if it does not, or in a way that is not counted."""
    work = _WORK.get(_domain(node), {}).get(node.op_type)
    turned = any(
        a.name in ("transBatchA", "transBatchB") and a.i for a in node.attribute
    )  # the sum is then over a dimension of the batch's
    return None if turned else work


def is_free(node: NodeProto) -> bool:
    """Return whether a node is known to multiply nothing; branches are looked into elsewhere."""
    domain, name = _domain(node), node.op_type
    multiplies = name in _UNCOUNTED or name in _WORK[""]
    is_standard = name in _standard() and not multiplies
    if domain in ("", *_INTERNAL) and is_standard:
        return True
    return domain in ("", RUNTIME, *_INTERNAL) and name in _FREE


def hides_numbers(node: NodeProto) -> bool:
    """Return whether a node may have learned what is none of its inputs, or packs it."""
    if _domain(node) == "":
        return False
    return node.op_type in _PACKED or any(_is_learned(a) for a in node.attribute)


def _is_learned(attribute: AttributeProto) -> bool:
    if attribute.type == AttributeProto.TENSOR:
        kinds = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
        return attribute.t.data_type in kinds
    return attribute.type == AttributeProto.FLOATS and len(attribute.floats) > 1


def _domain(node: NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else str(node.domain)


@cache
def _standard() -> frozenset[str]:
    """Return the names of ONNX's own operators, old ones with them."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return frozenset(schema.name for schema in schemas if schema.domain == "")
