"""Memory of a CUDA device, through pycuda or through ctypes on libcudart.

    memory = open_ctypes() or open_pycuda()
    buffer = memory.buffer(4096)     on the device, with a page-locked twin on the host
    buffer.put(data)                 into the twin
    buffer.upload()                  host to device, complete on return
    buffer.address                   what TensorRT is given
    buffer.download()                device to host, complete on return
    buffer.take()                    from the twin
    memory.close()

Both wait for the device without spinning (`BlockingSync`): a spinning processor would be part
of the energy, and latency is taken in the same way so that both speak of the same thing.
"""

import ctypes
import importlib
from typing import Any, List

from gensynth.devices.agent.runtimes.cuda_runtime import (
    BLOCKING_SYNC,
    DEVICE_TO_HOST,
    HOST_TO_DEVICE,
    CudaRuntime,
    find_runtime,
)
from gensynth.devices.agent.wire.status import Fault


class CtypesBuffer:
    """Bytes on the device and their twin on the host."""

    def __init__(self, runtime: CudaRuntime, size: int) -> None:
        self._runtime = runtime
        self._size = size
        self._device = runtime.pointer("cudaMalloc", size)
        self._pinned = runtime.pointer("cudaMallocHost", size)
        self.address = int(self._device.value or 0)

    def put(self, data: bytes) -> None:
        """Write all bytes of the host's twin."""
        ctypes.memmove(self._pinned, _as_long(data, self._size), self._size)

    def take(self) -> bytes:
        """Return all bytes of the host's twin."""
        return ctypes.string_at(self._pinned, self._size)

    def upload(self) -> None:
        """Copy from the host to the device."""
        self._runtime.call("cudaMemcpy", self._device, self._pinned, self._size, HOST_TO_DEVICE)

    def download(self) -> None:
        """Copy from the device to the host."""
        self._runtime.call("cudaMemcpy", self._pinned, self._device, self._size, DEVICE_TO_HOST)

    def free(self) -> None:
        """Give the memory back."""
        self._runtime.call("cudaFree", self._device)
        self._runtime.call("cudaFreeHost", self._pinned)


class CtypesMemory:
    """Memory through libcudart.

    Args:
        runtime: libcudart.

    Raises:
        Fault: `runtime_missing` if there is no device, `oom` if it has no memory to start with.
    """

    path = "ctypes"

    def __init__(self, runtime: CudaRuntime) -> None:
        self._runtime = runtime
        self.cuda, self.capability, self.multiprocessors = runtime.facts()
        # Flags first: before CUDA 11 a device that has started takes none.
        runtime.call("cudaSetDeviceFlags", BLOCKING_SYNC)
        runtime.call("cudaSetDevice", 0)
        self._buffers: List[CtypesBuffer] = []

    def buffer(self, size: int) -> CtypesBuffer:
        """Return new memory of `size` bytes, at least one.

        Raises:
            Fault: `oom`.
        """
        self._buffers.append(CtypesBuffer(self._runtime, size))
        return self._buffers[-1]

    def synchronise(self) -> None:
        """Wait until the device has nothing left to do."""
        self._runtime.call("cudaDeviceSynchronize")

    def close(self) -> None:
        """Give all memory back."""
        while self._buffers:
            self._buffers.pop().free()


class PycudaBuffer:
    """Bytes on the device and their twin on the host."""

    def __init__(self, cuda: Any, size: int) -> None:
        self._cuda = cuda
        self._device = cuda.mem_alloc(size)
        self._pinned = cuda.pagelocked_empty(size, "uint8")
        self._size = size
        self.address = int(self._device)

    def put(self, data: bytes) -> None:
        """Write all bytes of the host's twin."""
        memoryview(self._pinned)[:] = _as_long(data, self._size)

    def take(self) -> bytes:
        """Return all bytes of the host's twin."""
        return bytes(self._pinned)

    def upload(self) -> None:
        """Copy from the host to the device."""
        try:
            self._cuda.memcpy_htod(self._device, self._pinned)
        except self._cuda.Error as error:
            raise _lost(error) from error

    def download(self) -> None:
        """Copy from the device to the host."""
        try:
            self._cuda.memcpy_dtoh(self._pinned, self._device)
        except self._cuda.Error as error:
            raise _lost(error) from error

    def free(self) -> None:
        """Give the memory back; the host's goes with its array, which must not outlive CUDA."""
        self._pinned = None
        self._device.free()


class PycudaMemory:
    """Memory through pycuda.

    Args:
        cuda: the module `pycuda.driver`.

    Raises:
        Fault: `runtime_missing` if there is no device, `oom` if it has no memory to start with.
    """

    path = "pycuda"

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        try:
            cuda.init()
            device = cuda.Device(0)
            self._context = device.make_context(cuda.ctx_flags.SCHED_BLOCKING_SYNC)
        except cuda.Error as error:
            status = "oom" if isinstance(error, cuda.MemoryError) else "runtime_missing"
            raise Fault(status, f"there must be a CUDA device to use, got {error}") from error
        self.cuda = ".".join(str(part) for part in cuda.get_version()[:2])
        self.capability = ".".join(str(part) for part in device.compute_capability())
        self.multiprocessors = int(device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT))
        self._buffers: List[PycudaBuffer] = []

    def buffer(self, size: int) -> PycudaBuffer:
        """Return new memory of `size` bytes, at least one.

        Raises:
            Fault: `oom`.
        """
        try:
            self._buffers.append(PycudaBuffer(self._cuda, size))
        except self._cuda.MemoryError as error:
            raise Fault("oom", f"{size} bytes of CUDA memory are not to be had: {error}") from error
        return self._buffers[-1]

    def synchronise(self) -> None:
        """Wait until the device has nothing left to do."""
        try:
            self._context.synchronize()
        except self._cuda.Error as error:
            raise _lost(error) from error

    def close(self) -> None:
        """Give all memory back; pycuda ends the process if its context is left on the stack."""
        while self._buffers:
            self._buffers.pop().free()
        self._context.pop()
        self._context.detach()


def open_pycuda() -> PycudaMemory:
    """Return the device's memory through pycuda.

    Raises:
        Fault: `runtime_missing`.
    """
    try:
        cuda = importlib.import_module("pycuda.driver")
    except Exception as error:  # a broken build raises what it likes  # noqa: BLE001
        raise Fault("runtime_missing", f"pycuda cannot be imported: {error}") from error
    return PycudaMemory(cuda)


def open_ctypes() -> CtypesMemory:
    """Return the device's memory through libcudart.

    Raises:
        Fault: `runtime_missing`.
    """
    return CtypesMemory(find_runtime())


def _lost(error: Exception) -> Fault:
    return Fault("device_lost", f"CUDA must go on working, got {error}")


def _as_long(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"the buffer takes {size} bytes, got {len(data)}")
    return data
