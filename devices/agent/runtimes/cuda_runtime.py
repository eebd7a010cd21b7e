"""CUDA's libcudart by ctypes, which needs no Python package: its calls, and its device's facts."""

import ctypes
import ctypes.util
import glob
import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple, Optional

from gensynth.devices.agent.wire.status import Fault

PLACES = ("/usr/local/cuda*/lib64",)  # beside them, NVIDIA's Python packages

HOST_TO_DEVICE = 1
DEVICE_TO_HOST = 2
BLOCKING_SYNC = 4  # cudaDeviceScheduleBlockingSync

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
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


class DeviceFacts(NamedTuple):
    """What an engine depends on.

    Attributes:
        cuda: version of the library, such as "10.2".
        capability: of the device, such as "6.2".
        multiprocessors: of the device.
    """

    cuda: str
    capability: str
    multiprocessors: int


class CudaRuntime:
    """The library.

    Args:
        library: as ctypes loads it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function.

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

    def pointer(self, function: str, size: int) -> ctypes.c_void_p:
        """Allocate with a function."""
        pointer = ctypes.c_void_p()
        self.call(function, ctypes.byref(pointer), size)
        return pointer

    def facts(self) -> DeviceFacts:
        """Return what the first device is; this does not start it, and takes none of its memory.

        Raises:
            Fault: `runtime_missing` if there is no device.
        """
        version = ctypes.c_int()
        try:
            self.call("cudaRuntimeGetVersion", ctypes.byref(version))
            return DeviceFacts(
                f"{version.value // 1000}.{version.value % 1000 // 10}",
                f"{self._attribute(_CAPABILITY_MAJOR)}.{self._attribute(_CAPABILITY_MINOR)}",
                self._attribute(_MULTIPROCESSORS),
            )
        except Fault as fault:
            raise Fault("runtime_missing", f"there is no CUDA device: {fault.message}") from fault

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value


def find_runtime() -> CudaRuntime:
    """Return the library of this machine.

    Raises:
        Fault: `runtime_missing`.
    """
    library = _library()
    if library is None:
        raise Fault(
            "runtime_missing",
            "libcudart.so is not found; add CUDA's lib64 folder to LD_LIBRARY_PATH",
        )
    return CudaRuntime(library)


def _library() -> Optional[Any]:
    names = ["libcudart.so"]
    for place in PLACES + tuple(os.path.join(folder, "nvidia/*/lib") for folder in sys.path):
        names += sorted(glob.glob(os.path.join(place, "libcudart.so*")), reverse=True)
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    versioned = ctypes.util.find_library("cudart")  # starts programs, so it comes last
    return None if versioned is None else ctypes.CDLL(versioned)
