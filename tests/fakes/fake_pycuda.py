"""`pycuda.driver` as the agent may use it, with a processor's memory in place of a device's.

Recorded from its bindings (inducer/pycuda, src/wrapper/wrap_cudadrv.cpp) in 2022.1, the last
for Python 3.6; what is not here is an AttributeError. It is strict about contexts: nothing works
without a current one, and one that is detached with memory still in it is an error.
"""

import ctypes
import types
from typing import Any

import numpy as np


class Error(Exception):
    """Of CUDA; `pycuda.driver.Error`."""


class LogicError(Error):
    """A call that cannot be meant."""


class LaunchError(Error):
    """A kernel that failed."""


class CudaMemoryError(Error, MemoryError):
    """`pycuda.driver.MemoryError`."""


class FakePycuda(types.ModuleType):
    """The module `pycuda.driver`.

    Args:
        devices: how many there are.
        free: bytes of the device.
    """

    Error, LogicError, LaunchError, MemoryError = Error, LogicError, LaunchError, CudaMemoryError

    def __init__(self, devices: int = 1, free: int = 1 << 20) -> None:
        super().__init__("pycuda.driver")
        self._devices, self._free = devices, free
        self._memory: dict[int, Any] = {}
        self._stack: list[_Context] = []
        self._started = False
        self._broken: str | None = None
        self.ctx_flags = types.SimpleNamespace(SCHED_AUTO=0, SCHED_BLOCKING_SYNC=4, MAP_HOST=8)
        self.device_attribute = types.SimpleNamespace(MULTIPROCESSOR_COUNT=16)

    def size_at(self, address: int) -> int:
        """Bytes of device memory at an address, for the simulated TensorRT."""
        return ctypes.sizeof(self._memory[address]) if address in self._memory else 0

    def break_down(self, text: str) -> None:
        """Let every call fail from now on, as after a sticky error."""
        self._broken = text

    def init(self, flags: int = 0) -> None:
        if self._devices == 0:
            raise LogicError("cuInit failed: no CUDA-capable device is detected")
        self._started = True

    def get_version(self) -> tuple[int, int, int]:
        return (10, 2, 0)

    def Device(self, number: int) -> "_Device":  # noqa: N802
        if not self._started:
            raise LogicError("cuDeviceGet failed: initialization error")
        assert number < self._devices
        return _Device(self)

    def mem_alloc(self, size: int) -> "_Allocation":
        self._check()
        if size < 1:
            raise LogicError("cuMemAlloc failed: invalid argument")
        if size > self._free:
            raise CudaMemoryError("cuMemAlloc failed: out of memory")
        self._free -= size
        return _Allocation(self, size)

    def pagelocked_empty(
        self, shape: int, dtype: str, order: str = "C", mem_flags: int = 0
    ) -> "np.ndarray[Any, Any]":
        self._check()
        return np.empty(shape, dtype)

    def memcpy_htod(self, dest: "_Allocation", src: Any) -> None:
        self._check()
        content = bytes(src)
        if len(content) > dest.size:
            raise LogicError("cuMemcpyHtoD failed: invalid argument")
        ctypes.memmove(int(dest), content, len(content))

    def memcpy_dtoh(self, dest: Any, src: "_Allocation") -> None:
        self._check()
        memoryview(dest)[:] = ctypes.string_at(int(src), memoryview(dest).nbytes)

    def _check(self) -> None:
        if not self._stack:
            raise LogicError("invalid device context: no currently active context?")
        if self._broken is not None:
            raise LaunchError(self._broken)


class _Device:
    def __init__(self, cuda: FakePycuda) -> None:
        self._cuda = cuda

    def make_context(self, flags: int = 0) -> "_Context":
        assert flags == 4, "a processor that spins while it waits is part of the energy"
        if self._cuda._free == 0:
            raise CudaMemoryError("cuCtxCreate failed: out of memory")
        context = _Context(self._cuda)
        self._cuda._stack.append(context)
        return context

    def compute_capability(self) -> tuple[int, int]:
        return (6, 2)

    def get_attribute(self, attribute: int) -> int:
        assert attribute == 16
        return 2


class _Context:
    def __init__(self, cuda: FakePycuda) -> None:
        self._cuda = cuda

    def synchronize(self) -> None:
        self._cuda._check()

    def pop(self) -> None:
        self._cuda._check()
        self._cuda._stack.pop()

    def detach(self) -> None:
        assert self not in self._cuda._stack
        assert not self._cuda._memory, "the context went before its memory"


class _Allocation:
    def __init__(self, cuda: FakePycuda, size: int) -> None:
        self.size = size
        self._cuda = cuda
        self._content = ctypes.create_string_buffer(size)
        cuda._memory[int(self)] = self._content

    def __int__(self) -> int:
        return ctypes.addressof(self._content)

    def free(self) -> None:
        self._cuda._check()
        del self._cuda._memory[int(self)]
        self._cuda._free += self.size
