"""Many kernels of one kind as arrays, and what a regression on their sizes sees of them.

logarithms     of multiply-accumulates, of bytes, of every size
remainders     of channels, up to the next multiple of 4, 8, 16 and 32, as shares of these: a
               runtime computes in blocks, so that time over channels is a staircase
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gensynth.bench.estimate.kernels import Kernel

BLOCKS = (4, 8, 16, 32)
CHANNELS = ("channels", "read", "written")
"""Sizes that are numbers of channels."""


@dataclass(frozen=True)
class Columns:
    """Kernels of one kind.

    Attributes:
        kind: of all of them.
        macs: (kernels,) multiply-accumulates.
        moved: (kernels,) bytes read and written.
        sizes: (kernels,) each, by name; the names are those of the kind.
    """

    kind: str
    macs: np.ndarray
    moved: np.ndarray
    sizes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.macs)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sizes, sorted."""
        return tuple(sorted(self.sizes))

    def features(self) -> np.ndarray:
        """Return (kernels, features), float64."""
        found = [np.log(np.maximum(self.macs, 1.0)), np.log(np.maximum(self.moved, 1.0))]
        for name in self.names:
            size = np.asarray(self.sizes[name], float)
            found.append(np.log(np.maximum(size, 1e-3)))
            if name in CHANNELS:
                found += [(-size % block) / block for block in BLOCKS]
        return np.stack(found, axis=1)


def by_kind(kernels: Sequence[Kernel]) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield kernels kind by kind as columns, with (kernels,) their places in the sequence."""
    places: dict[str, list[int]] = {}
    for place, kernel in enumerate(kernels):
        places.setdefault(kernel.kind, []).append(place)
    for kind, at in places.items():
        own = [kernels[place] for place in at]
        names = sorted(set().union(*(kernel.sizes for kernel in own)))
        yield (
            Columns(
                kind,
                np.array([kernel.macs for kernel in own], float),
                np.array([kernel.bytes_read + kernel.bytes_written for kernel in own], float),
                {name: np.array([k.sizes.get(name, 1) for k in own], float) for name in names},
            ),
            np.array(at),
        )
