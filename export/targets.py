"""The boards and machines that files are written for, and what each of them reads.

    jetson-tx2, jetson-nano             JetPack 4.6.1 to 4.6.6: TensorRT 8.2, opset 13
    jetson-xavier                       the same file serves JetPack 4.6 and 5
    jetson-orin-jp5, jetson-orin-jp6    TensorRT 8.5 to 10.3, opset 17
    nvidia-gpu                          TensorRT 10.15 and later
    raspberry-pi, x86-cpu               ONNX Runtime

A profile's opset and IR are what all its runtime's versions read, and every file for the target
has exactly these: TensorRT 8.2 takes a newer opset without complaint and computes something
else. JetPack 4.6.0 is older, with TensorRT 8.0, which lacks operators of 8.2's table: no file is
for it. Operator tables are onnx-tensorrt's own (`data/tensorrt_*.json` name their sources); ONNX
Runtime's processor kernels know every operator of these opsets. The table of JetPack 6 is that of
TensorRT 8.5, whose operators the parsers of 8.6 and 10.3 all have.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from gensynth.errors import ConfigError
from gensynth.export.runtime import Rounding
from gensynth.suggestion import did_you_mean

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Operator:
    """What a runtime says of one ONNX operator.

    Attributes:
        types: of its values, such as FP32; INT32 stands for INT64 too where that is clamped.
        restrictions: in the words of the runtime's documentation.
    """

    types: tuple[str, ...]
    restrictions: str


@dataclass(frozen=True)
class Target:
    """What a board or machine reads.

    Attributes:
        name: as the command line takes it.
        title: for people.
        runtime: "TensorRT" or "ONNX Runtime".
        versions: of the runtime, by what it comes with.
        opset, ir: of every file for it.
        operators: what its oldest runtime knows, by name; None for all that ONNX has.
        table: which runtime the operators are of, for messages.
        batch: "fixed" or "free"; the sizes besides are always fixed.
        fp16: whether FP16 is a "flag" of the builder or stands in the "file"; None without.
        precisions: that it can be asked for.
        lacks: why not the others, by precision.
        python: the oldest that comes with the runtime.
    """

    name: str
    title: str
    runtime: str
    versions: Mapping[str, str]
    opset: int
    ir: int
    operators: Mapping[str, Operator] | None
    table: str
    batch: str
    fp16: str | None
    precisions: tuple[str, ...]
    lacks: Mapping[str, str]
    python: str

    @property
    def tensorrt(self) -> bool:
        """Whether engines are built for it."""
        return self.runtime == "TensorRT"

    @property
    def rounding(self) -> Rounding:
        """How it computes the pairs of an INT8 file, and so how a file for it is judged."""
        return "as_written" if self.tensorrt else "in_kernels"

    @property
    def jetson(self) -> bool:
        """Whether it is a Jetson."""
        return self.name.startswith("jetson-")

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that the target has no use for.

        Raises:
            ConfigError: with the reason.
        """
        if precision not in PRECISIONS:
            raise ConfigError(
                f"unknown precision '{precision}'; {did_you_mean(precision, PRECISIONS)}"
            )
        if precision not in self.precisions:
            raise ConfigError(
                f"no {precision.upper()} for {self.name}: {self.lacks[precision]}; "
                f"use {' or '.join(self.precisions)}"
            )


def find_target(name: str) -> Target:
    """Return a target's profile.

    Raises:
        ConfigError: if there is none of this name.
    """
    profiles = _read("targets.json")
    if name not in profiles:
        raise ConfigError(
            f"unknown target '{name}'; {did_you_mean(name, tuple(profiles))}; there are "
            f"{', '.join(profiles)}"
        )
    return _target(name)


def names() -> tuple[str, ...]:
    """Return the targets' names."""
    return tuple(_read("targets.json"))


@cache
def _target(name: str) -> Target:
    document = dict(_read("targets.json")[name])
    table = document.pop("operators")
    known = None if table is None else _read(f"{table}.json")
    return Target(
        name=name,
        operators=None
        if known is None
        else {
            operator: Operator(tuple(entry["types"]), entry["restrictions"])
            for operator, entry in known["operators"].items()
        },
        table=document["runtime"] if known is None else f"TensorRT {known['tensorrt']}",
        precisions=tuple(document.pop("precisions")),
        **document,
    )


@cache
def _read(file: str) -> dict[str, Any]:
    text = resources.files("gensynth.export").joinpath("data", file).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
