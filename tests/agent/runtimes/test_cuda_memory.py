"""Memory of a CUDA device through pycuda and through libcudart, with none of the two."""

import ctypes
import ctypes.util
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.agent.runtimes import cuda_runtime
from gensynth.devices.agent.runtimes.cuda_memory import (
    CtypesMemory,
    PycudaMemory,
    open_ctypes,
    open_pycuda,
)
from gensynth.devices.agent.runtimes.cuda_runtime import CudaRuntime
from gensynth.devices.agent.wire.status import Fault
from tests.fakes.fake_pycuda import FakePycuda

DATA = bytes(range(256))
HEADERS = Path("/usr/local/cuda/include")


@pytest.fixture
def load(libcudart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Load a library whose device has not started: a new copy each time."""
    monkeypatch.delenv("GENSYNTH_CUDA", raising=False)
    copies = iter(range(9))
    return lambda: ctypes.CDLL(str(shutil.copy(libcudart, tmp_path / f"cudart{next(copies)}.so")))


def test_bytes_go_to_the_device_and_back_through_libcudart(load: Callable[[], Any]) -> None:
    library = load()
    memory = CtypesMemory(CudaRuntime(library))
    first, second = memory.buffer(256), memory.buffer(256)
    first.put(DATA)
    first.upload()
    second.put(bytes(256))
    second.upload()
    first.put(bytes(256))
    first.download()
    assert first.take() == DATA
    second.download()
    assert second.take() == bytes(256)
    assert library.fake_blocks() == 4  # two on the device, their two twins on the host
    memory.synchronise()
    memory.close()
    assert library.fake_blocks() == 0


def test_addresses_are_whole(load: Callable[[], Any]) -> None:
    library = load()
    library.fake_size_at.argtypes, library.fake_size_at.restype = [ctypes.c_size_t], ctypes.c_size_t
    buffer = CtypesMemory(CudaRuntime(library)).buffer(77)
    assert buffer.address > 1 << 32  # more than the int that ctypes assumes
    assert library.fake_size_at(buffer.address) == 77


def test_the_processor_does_not_spin_and_the_device_is_told_so_before_it_starts(
    load: Callable[[], Any],
) -> None:
    library = load()
    memory = CtypesMemory(
        CudaRuntime(library)
    )  # the fake, as 10.2, takes no flags once it has started
    assert library.fake_flags() == 4  # cudaDeviceScheduleBlockingSync
    assert (memory.cuda, memory.capability, memory.multiprocessors) == ("10.2", "6.2", 2)


@pytest.mark.parametrize(
    ("machine", "status", "words"),
    [
        ("none", "runtime_missing", "there is no CUDA device: .* got CUDA error 100"),
        ("full", "oom", "cudaSetDevice must succeed, got CUDA error 2"),
        ("small", "oom", "cudaMalloc must succeed, got CUDA error 2"),
        ("lost", "device_lost", "cudaMemcpy must succeed, got CUDA error 719"),
    ],
)
def test_what_libcudart_refuses_is_a_fault(
    load: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, machine: str, status: str, words: str
) -> None:
    monkeypatch.setenv("GENSYNTH_CUDA", machine)
    with pytest.raises(Fault, match=words) as refused:
        CtypesMemory(CudaRuntime(load())).buffer(8192).upload()
    assert refused.value.status == status


def test_the_facts_of_a_device_do_not_start_it(load: Callable[[], Any]) -> None:
    library = load()
    assert CudaRuntime(library).facts() == ("10.2", "6.2", 2)
    assert library.cudaSetDeviceFlags(4) == 0  # which the fake refuses once it has started


def test_a_device_that_is_lost_cannot_be_waited_for(
    load: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = CtypesMemory(CudaRuntime(load()))
    monkeypatch.setenv("GENSYNTH_CUDA", "lost")
    with pytest.raises(Fault, match="cudaDeviceSynchronize must succeed") as refused:
        memory.synchronise()
    assert refused.value.status == "device_lost"


def test_libcudart_is_found_where_cuda_or_a_package_of_it_lies(
    libcudart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENSYNTH_CUDA", raising=False)
    monkeypatch.setattr(cuda_runtime, "PLACES", (str(tmp_path / "cuda*/lib64"),))
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    loads = ctypes.CDLL

    def load_paths_alone(name: str) -> Any:
        if "/" not in name:  # this machine may have one where the loader looks
            raise OSError(name)
        return loads(name)

    monkeypatch.setattr(ctypes, "CDLL", load_paths_alone)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    with pytest.raises(Fault, match="libcudart.so is not found; add CUDA's lib64 folder") as absent:
        open_ctypes()
    assert absent.value.status == "runtime_missing"
    for folder in ("cuda-10.2/lib64", "site/nvidia/cuda_runtime/lib"):
        place = tmp_path / folder
        place.mkdir(parents=True)
        found = shutil.copy(libcudart, place / "libcudart.so.10.2")
        assert open_ctypes().cuda == "10.2"
        Path(found).unlink()


@pytest.mark.skipif(not HEADERS.exists(), reason="needs CUDA's headers")
def test_the_numbers_are_those_of_cudas_headers() -> None:
    text = (HEADERS / "driver_types.h").read_text()
    numbers = dict(re.findall(r"(cuda[A-Z]\w+)\s*=\s*(\d+)", text))
    assert int(numbers["cudaDevAttrMultiProcessorCount"]) == cuda_runtime._MULTIPROCESSORS
    assert int(numbers["cudaDevAttrComputeCapabilityMajor"]) == cuda_runtime._CAPABILITY_MAJOR
    assert int(numbers["cudaDevAttrComputeCapabilityMinor"]) == cuda_runtime._CAPABILITY_MINOR
    assert int(numbers["cudaErrorMemoryAllocation"]) == cuda_runtime._OUT_OF_MEMORY
    assert int(numbers["cudaMemcpyHostToDevice"]) == cuda_runtime.HOST_TO_DEVICE
    assert int(numbers["cudaMemcpyDeviceToHost"]) == cuda_runtime.DEVICE_TO_HOST
    (flag,) = re.findall(r"define cudaDeviceScheduleBlockingSync\s+(0x\w+)", text)
    assert int(flag, 16) == cuda_runtime.BLOCKING_SYNC


@pytest.mark.skipif(not HEADERS.exists(), reason="needs CUDA's headers")
def test_the_signatures_are_those_of_cudas_headers() -> None:
    text = (HEADERS / "cuda_runtime_api.h").read_text()
    kinds = {
        "int": ctypes.c_int, "unsigned int": ctypes.c_uint, "size_t": ctypes.c_size_t,
        "void *": ctypes.c_void_p, "const void *": ctypes.c_void_p,
        "void **": ctypes.POINTER(ctypes.c_void_p), "int *": ctypes.POINTER(ctypes.c_int),
        "enum cudaDeviceAttr": ctypes.c_int, "enum cudaMemcpyKind": ctypes.c_int,
    }  # fmt: skip
    for name, declared in cuda_runtime._SIGNATURES.items():
        found = re.search(rf"cudaError_t CUDARTAPI {name}\((.*?)\);", text)
        assert found is not None, name
        arguments = [] if found[1] == "void" else found[1].split(",")
        real = [re.sub(r"\s*\b\w+$", "", part.strip()).strip() for part in arguments]
        assert [kinds[re.sub(r"\s*(\*+)$", r" \1", kind)] for kind in real] == declared, name


def test_bytes_go_to_the_device_and_back_through_pycuda() -> None:
    cuda = FakePycuda()
    memory = PycudaMemory(cuda)
    buffer = memory.buffer(256)
    buffer.put(DATA)
    buffer.upload()
    assert ctypes.string_at(buffer.address, 256) == DATA
    buffer.put(bytes(256))
    buffer.download()
    assert buffer.take() == DATA
    memory.synchronise()
    assert (memory.cuda, memory.capability, memory.multiprocessors) == ("10.2", "6.2", 2)
    memory.close()  # which the fake refuses with memory left in the context
    assert cuda._stack == []


def test_no_device_is_no_runtime_through_pycuda() -> None:
    with pytest.raises(Fault, match="no CUDA-capable device is detected") as refused:
        PycudaMemory(FakePycuda(devices=0))
    assert refused.value.status == "runtime_missing"


def test_a_device_without_memory_to_start_with_is_not_taken_for_none() -> None:
    with pytest.raises(Fault, match="cuCtxCreate failed: out of memory") as refused:
        PycudaMemory(FakePycuda(free=0))
    assert refused.value.status == "oom"


def test_out_of_memory_is_a_fault_through_pycuda() -> None:
    memory = PycudaMemory(FakePycuda(free=1000))
    with pytest.raises(Fault, match="1001 bytes of CUDA memory are not to be had") as refused:
        memory.buffer(1001)
    assert refused.value.status == "oom"


@pytest.mark.parametrize("what", ["upload", "download", "synchronise"])
def test_a_device_that_is_lost_is_a_fault_through_pycuda(what: str) -> None:
    cuda = FakePycuda()
    memory = PycudaMemory(cuda)
    buffer = memory.buffer(8)
    cuda.break_down("cuMemcpy failed: unspecified launch failure")
    with pytest.raises(Fault, match="unspecified launch failure") as lost:
        (memory.synchronise if what == "synchronise" else getattr(buffer, what))()
    assert lost.value.status == "device_lost"


@pytest.mark.parametrize("error", ["ImportError('no driver')", "OSError('libcuda.so.1')"])
def test_a_pycuda_that_cannot_be_imported_is_no_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda/__init__.py").touch()
    (tmp_path / "pycuda/driver.py").write_text(f"raise {error}\n")
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Fault, match="pycuda cannot be imported: ") as refused:
        open_pycuda()
    assert refused.value.status == "runtime_missing"
    monkeypatch.delitem(sys.modules, "pycuda", raising=False)


@pytest.mark.parametrize("size", [7, 9])
def test_a_buffer_takes_all_its_bytes_and_no_more(load: Callable[[], Any], size: int) -> None:
    for memory in (PycudaMemory(FakePycuda()), CtypesMemory(CudaRuntime(load()))):
        with pytest.raises(ValueError, match=f"the buffer takes 8 bytes, got {size}"):
            memory.buffer(8).put(bytes(size))
