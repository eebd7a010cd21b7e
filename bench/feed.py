"""What a network is fed while it is measured: never zeros, which cost less power than images.

    float             normal noise of a fixed seed
    bytes             0 to 255
    other integers    1: they are indices and sizes
    bool              true

Sizes that a file leaves free are said by the user, but for the batch. Real inputs are better
than noise: an artefact brings its images, and arrays can be given.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from gensynth.errors import ConfigError
from gensynth.outside import ELEMENTS, within
from gensynth.randomness import stream

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.INT64: "int64",
    TensorProto.INT32: "int32", TensorProto.INT8: "int8", TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool",
}  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Feed:
    """What a network is fed.

    Attributes:
        arrays: one for each input, in the file's order.
        words: what they are.
        batch: images of one run: the first size of the first input.
    """

    arrays: Mapping[str, np.ndarray]
    words: str
    batch: int


def feed(
    name: str,
    model: ModelProto,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    images: np.ndarray | None = None,
) -> Feed:
    """Return what a file is fed.

    Args:
        name: of the network, for messages.
        model: the file.
        batch: images of one run; None for the file's own, or 1 where that is free.
        shapes: of inputs, by name.
        inputs: arrays to feed, by name.
        images: for the only input, in place of noise; as many as there are, again and again.

    Raises:
        ConfigError: if a size is missing, or not what the file takes.
    """
    return _Maker(name, model, batch, shapes or {}, inputs or {}).feed(images)


def normalise(images: np.ndarray, reads: Mapping[str, Any]) -> np.ndarray:
    """(n, channels, height, width), uint8 -> float32, as an artefact's manifest says."""
    mean, std = (np.array(reads[key], np.float32)[:, None, None] for key in ("mean", "std"))
    read: np.ndarray = (images.astype(np.float32) / np.float32(255) - mean) / std
    return read


class _Maker:
    """Makes what one file is fed."""

    def __init__(
        self,
        name: str,
        model: ModelProto,
        batch: int | None,
        shapes: Mapping[str, Sequence[int]],
        inputs: Mapping[str, np.ndarray],
    ) -> None:
        weights = {tensor.name for tensor in model.graph.initializer}
        self._values = [value for value in model.graph.input if value.name not in weights]
        self._name = name
        self._shapes = shapes
        self._inputs = inputs
        self._batch = self._own_batch(batch)

    def feed(self, images: np.ndarray | None) -> Feed:
        """Return an array for each input."""
        if images is not None and len(self._values) == 1:
            used = np.resize(images, (self._batch, *images.shape[1:]))
            words = f"{min(self._batch, len(images))} of the artefact's own images"
            return Feed({self._values[0].name: used}, words, self._batch)
        self._refuse_free()
        arrays = {value.name: self._array(index, value) for index, value in enumerate(self._values)}
        given = sorted(arrays.keys() & self._inputs.keys())
        words = "normal noise of seed 0; bytes 0 to 255, other integers 1"
        if given:
            words = (
                "given: " + ", ".join(given) + ("" if len(given) == len(arrays) else f"; {words}")
            )
        return Feed(arrays, words, self._batch)

    def _own_batch(self, asked: int | None) -> int:
        """Return the first size of the first input: given, fixed by the file, or asked for."""
        if not self._values:
            return asked or 1
        first = self._values[0]
        given = self._inputs.get(first.name)
        sizes = self._shapes.get(first.name) if given is None else given.shape
        if sizes is None:
            dims = first.type.tensor_type.shape.dim
            sizes = [dims[0].dim_value] if dims and dims[0].dim_value > 0 else []
        own = sizes[0] if len(sizes) else asked or 1
        if asked is not None and own != asked:
            images = "image" if own == 1 else "images"
            raise ConfigError(
                f"{self._name} takes {own} {images} at a time, so not {asked}; export it with "
                f"--batch {asked}"
            )
        return own

    def _array(self, index: int, value: ValueInfoProto) -> np.ndarray:
        kind = value.type.tensor_type.elem_type
        if kind not in DTYPES:
            raise ConfigError(
                f"{self._name}: input '{value.name}' must be of {', '.join(DTYPES.values())}, got "
                f"{TensorProto.DataType.Name(kind).lower()}"
            )
        dtype = DTYPES[kind]
        given = self._inputs.get(value.name)
        if given is not None:
            if str(given.dtype) != dtype:
                raise ConfigError(
                    f"{self._name}: input '{value.name}' is {dtype}, got {given.dtype}"
                )
            self._check(value, given.shape)
            return np.ascontiguousarray(given).reshape(given.shape)
        shape = self._shape(value)
        try:
            within(math.prod(shape), ELEMENTS, f"{self._name}: the numbers of '{value.name}'")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        draws = stream(0, "bench-input", index)
        if dtype.startswith("float"):
            return draws.standard_normal(shape).astype(dtype)
        if dtype.endswith("int8"):
            return draws.integers(0, 256, shape, dtype=np.uint8).view(dtype)
        return np.ones(shape, dtype)

    def _refuse_free(self) -> None:
        """Name every size that nobody has said, of all inputs at once."""
        unsaid = [
            (value.name, ",".join(str(size or "?") for size in self._sizes(value)))
            for value in self._values
            if value.name not in self._inputs and value.name not in self._shapes
            if not value.type.tensor_type.HasField("shape") or 0 in self._sizes(value)
        ]
        if unsaid:
            names = " and ".join(f"'{name}'" for name, _ in unsaid)
            say = " ".join(f"--shape {shlex.quote(name)}={told or '?'}" for name, told in unsaid)
            raise ConfigError(f"{self._name} leaves sizes of input {names} free; say them: {say}")

    def _shape(self, value: ValueInfoProto) -> Shape:
        if value.name not in self._shapes:
            return self._sizes(value)
        shape = tuple(self._shapes[value.name])
        self._check(value, shape)
        return shape

    def _sizes(self, value: ValueInfoProto) -> Shape:
        """Return the sizes that the file says, 0 where one is free and is not the batch."""
        dims = value.type.tensor_type.shape.dim
        return tuple(
            dim.dim_value if dim.dim_value > 0 else self._free(value, place)
            for place, dim in enumerate(dims)
        )

    def _free(self, value: ValueInfoProto, place: int) -> int:
        """Return the batch where a free size is it: the first one, and those called as that is."""
        first = self._values[0]
        word = value.type.tensor_type.shape.dim[place].dim_param
        dims = first.type.tensor_type.shape.dim
        is_batch = (value is first and place == 0) or (word and dims and word == dims[0].dim_param)
        return self._batch if is_batch else 0

    def _check(self, value: ValueInfoProto, shape: Sequence[int]) -> None:
        dims = value.type.tensor_type.shape.dim
        fits = len(dims) == len(shape) and all(
            dim.dim_value <= 0 or dim.dim_value == size
            for dim, size in zip(dims, shape, strict=True)
        )
        if value.type.tensor_type.HasField("shape") and (not fits or min(shape, default=1) < 1):
            own = ",".join(str(dim.dim_value) if dim.dim_value > 0 else "?" for dim in dims)
            raise ConfigError(
                f"{self._name}: input '{value.name}' takes {own or 'one number'}, got "
                f"{','.join(map(str, shape)) or 'one number'}"
            )
