"""What a runtime makes of a network: kernels, each an operator with all that is fused into it.

A runtime does not compute vertex by vertex: convolution, norm, activation and addition become one
kernel, a width that suits no block gets another layout, and a change of layout is a kernel of its
own. What a network costs on a device is the sum over its kernels, so they are what is measured,
estimated and tabulated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kernel:
    """One kernel of one network on one runtime.

    Attributes:
        kind: what it computes and in which layout: kernels of one kind differ in sizes alone,
            and one regression is for one kind.
        vertex: of the graph (the ONNX node) whose work it is; the first of those that are fused.
        macs: multiply-accumulates for the whole batch.
        bytes_read: of activations and weights.
        bytes_written: of activations.
        sizes: what the time of a kernel of this kind depends on, by name: channels read and
            written, height and width of the output, and the like.
    """

    kind: str
    vertex: str
    macs: int
    bytes_read: int
    bytes_written: int
    sizes: Mapping[str, float] = field(default_factory=dict)
