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
import ctypes.util
import glob
import importlib
import os
import sys
from contextlib import suppress
from typing import Any, List, Optional

from gensynth.devices.agent.status import Fault

PLACES = ("/usr/local/cuda*/lib64",)  # beside them, NVIDIA's Python packages

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_HOST_TO_DEVICE = 1
_DEVICE_TO_HOST = 2
_BLOCKING_SYNC = 4  # cudaDeviceScheduleBlockingSync
_MULTIPROCESSORS = 16  # cudaDevAttrMultiProcessorCount
_CAPABILITY_MAJOR = 75  # cudaDevAttrComputeCapabilityMajor
_CAPABILITY_MINOR = 76

# Addresses do not fit the int that ctypes assumes, so every signature is declared.
_SIGNATURES = {
    "cudaSetDevice": [ctypes.c_int],
    "cudaSetDeviceFlags": [ctypes.c_uint],
    "cudaRuntimeGetVersion": [ctypes.POINTER(ctypes.c_int)],
    "cudaDeviceGetAttribute": [ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int],
    "cudaMalloc": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t],
    "cudaFree": [ctypes.c_void_p],
    "cudaMallocHost": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t],
    "cudaFreeHost": [ctypes.c_void_p],
    "cudaMemcpy": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int],
    "cudaDeviceSynchronize": [],
}


class CtypesBuffer:
    """Bytes on the device and their twin on the host."""

    def __init__(self, memory: "CtypesMemory", size: int) -> None:
        self._memory = memory
        self._size = size
        self._device = memory.pointer("cudaMalloc", size)
        self._pinned = memory.pointer("cudaMallocHost", size)
        self.address = int(self._device.value or 0)

    def put(self, data: bytes) -> None:
        """Write all bytes of the host's twin."""
        ctypes.memmove(self._pinned, _as_long(data, self._size), self._size)

    def take(self) -> bytes:
        """Return all bytes of the host's twin."""
        return ctypes.string_at(self._pinned, self._size)

    def upload(self) -> None:
        """Copy from the host to the device."""
        self._memory.call("cudaMemcpy", self._device, self._pinned, self._size, _HOST_TO_DEVICE)

    def download(self) -> None:
        """Copy from the device to the host."""
        self._memory.call("cudaMemcpy", self._pinned, self._device, self._size, _DEVICE_TO_HOST)

    def free(self) -> None:
        """Give the memory back."""
        self._memory.call("cudaFree", self._device)
        self._memory.call("cudaFreeHost", self._pinned)


class CtypesMemory:
    """Memory through libcudart, which needs no Python package.

    Args:
        library: libcudart, as ctypes loads it.

    Raises:
        Fault: `runtime_missing` if there is no device.
    """

    path = "ctypes"

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int
        version = ctypes.c_int()
        try:
            # Flags first: before CUDA 11 a device that has started takes none.
            self.call("cudaSetDeviceFlags", _BLOCKING_SYNC)
            self.call("cudaSetDevice", 0)
            self.call("cudaRuntimeGetVersion", ctypes.byref(version))
        except Fault as fault:
            raise Fault("runtime_missing", f"there is no CUDA device: {fault.message}") from fault
        self.cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
        self.capability = (
            f"{self._attribute(_CAPABILITY_MAJOR)}.{self._attribute(_CAPABILITY_MINOR)}"
        )
        self.multiprocessors = self._attribute(_MULTIPROCESSORS)
        self._buffers: List[CtypesBuffer] = []

    def buffer(self, size: int) -> CtypesBuffer:
        """Return new memory of `size` bytes, at least one.

        Raises:
            Fault: `oom`.
        """
        self._buffers.append(CtypesBuffer(self, size))
        return self._buffers[-1]

    def synchronise(self) -> None:
        """Wait until the device has nothing left to do."""
        self.call("cudaDeviceSynchronize")

    def close(self) -> None:
        """Give all memory back."""
        while self._buffers:
            self._buffers.pop().free()

    def pointer(self, function: str, size: int) -> ctypes.c_void_p:
        """Allocate with a function of libcudart."""
        pointer = ctypes.c_void_p()
        self.call(function, ctypes.byref(pointer), size)
        return pointer

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of libcudart.

        Raises:
            Fault: `oom` or `device_lost`, if it does not succeed.
        """
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise Fault(
                "oom" if code == _OUT_OF_MEMORY else "device_lost",
                f"{function} must succeed, got CUDA error {code}",
                {"cuda_error": code},
            )

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value


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
        Fault: `runtime_missing` if there is no device.
    """

    path = "pycuda"

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        try:
            cuda.init()
            device = cuda.Device(0)
            self._context = device.make_context(cuda.ctx_flags.SCHED_BLOCKING_SYNC)
        except cuda.Error as error:
            raise Fault("runtime_missing", f"there is no CUDA device: {error}") from error
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
    library = _libcudart()
    if library is None:
        raise Fault(
            "runtime_missing",
            "libcudart.so is not found; add CUDA's lib64 folder to LD_LIBRARY_PATH",
        )
    return CtypesMemory(library)


def _lost(error: Exception) -> Fault:
    return Fault("device_lost", f"CUDA must go on working, got {error}")


def _as_long(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"the buffer takes {size} bytes, got {len(data)}")
    return data


def _libcudart() -> Optional[Any]:
    names = ["libcudart.so"]
    for place in PLACES + tuple(os.path.join(folder, "nvidia/*/lib") for folder in sys.path):
        names += sorted(glob.glob(os.path.join(place, "libcudart.so*")), reverse=True)
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    versioned = ctypes.util.find_library("cudart")  # starts programs, so it comes last
    return None if versioned is None else ctypes.CDLL(versioned)
