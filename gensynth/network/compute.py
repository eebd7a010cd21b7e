"""Where and how tensors are computed: device, precision, memory layout, compilation.

One object decides it for training, evaluation and probing, so that the same code runs
on a processor and on a CUDA device.
"""

import contextlib
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gensynth.environment import memory_bytes


@dataclass(frozen=True)
class Compute:
    """How this process computes.

    Attributes:
        device: "cpu" or "cuda".
        autocast: lower precision for convolutions and products, or None for float32.
        compiler: whether `torch.compile` has a C++ compiler and Python's headers here.
        threads: processor threads of one operator.
        memory_bytes: that the device has; None sets no bound to what is computed at once.
    """

    device: str = "cpu"
    autocast: torch.dtype | None = None
    compiler: bool = False
    threads: int = 1
    memory_bytes: int | None = None

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Run the body in the chosen precision."""
        with torch.autocast(
            self.device, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None
        ):
            yield

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, its four-dimensional weights channels last."""
        # nn.Module.to has no overload for device and memory format together.
        moved: Any = network.to(self.device)
        placed: nn.Module = moved.to(memory_format=torch.channels_last)
        return placed

    def compiled(self, network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """Compile a network for one batch size, where a compiler is there.

        The compiler's cache is cleared first: a third architecture in one process
        otherwise falls back to dynamic shapes and runs ten times slower.
        """
        if not self.compiler:
            return network
        torch._dynamo.reset()
        function: Callable[[torch.Tensor], torch.Tensor] = torch.compile(network, dynamic=False)
        return function


def detect() -> Compute:
    """Return the best way to compute here.

    bfloat16 only where the processor multiplies tiles of it (AMX). Emulated, it trains 13 times
    slower than float32 (ResNet-20, two Zen 3 cores); with AVX512-BF16 alone still 1.4 times.
    """
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        return Compute("cuda", torch.bfloat16, _has_compiler(), torch.get_num_threads(), memory)
    tiles = torch.cpu._is_amx_tile_supported()
    return Compute(
        "cpu",
        torch.bfloat16 if tiles else None,
        _has_compiler(),
        torch.get_num_threads(),
        memory_bytes(),
    )


def _has_compiler() -> bool:
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which("g++") is not None and headers.exists()
