"""What is asked of a device: checked on this machine, then written as the agent's job.

Two requests with the same `key` ask for the same figures, so that the second can be answered
with the first one's.
"""

import hashlib
import json
import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gensynth.bench.endtoend import end_to_end
from gensynth.bench.grades import Grade
from gensynth.bench.reference import reference
from gensynth.bench.subjects import Subject
from gensynth.devices.agent.wire.spec import LEASE_S, MAX_NETWORKS, MOST_RUNS
from gensynth.devices.profiles import TENSORRT, Profile, find_profile
from gensynth.devices.registry import Device
from gensynth.errors import ConfigError
from gensynth.outside import SAMPLES_BYTES, check_plain
from gensynth.suggestion import did_you_mean

RUNTIMES = {
    "tensorrt": ("tensorrt-pycuda", "tensorrt-ctypes"),
    "trtexec": ("trtexec",),
    "onnxruntime": ("onnxruntime",),
}
"""What --runtime takes, and the agent's names for it."""

WORKSPACE_MIB = 1024
BUILD_S = 3600.0
_SHORT_RUN_S = 5e-5
_RECORD_BYTES = 1 << 18
_ID_CHARACTERS = 48
_MODE_AT_MOST = 255


@dataclass(frozen=True)
class Request:
    """Networks to measure, and how.

    Attributes:
        device: where.
        subjects: in the order of the figures; ratios are to the first.
        grade: how long.
        precision: "fp32", "fp16" or "int8".
        threads: that one operator may use, where a processor computes.
        energy: whether joules are wanted.
        power_mode: nvpmodel's number; None leaves the board as it is.
        lock_clocks: whether every clock is pinned meanwhile.
        end_to_end: whether each is also measured from pixels to its answer.
        runtime: a name of `RUNTIMES` that must measure; None takes the first of the device's
            that works.
        profile: whether the time of each kernel is wanted too.
    """

    device: Device
    subjects: tuple[Subject, ...]
    grade: Grade
    precision: str = "fp32"
    threads: int = 1
    energy: bool = False
    power_mode: int | None = None
    lock_clocks: bool = False
    end_to_end: bool = False
    runtime: str | None = None
    profile: bool = False

    def __post_init__(self) -> None:
        if not self.subjects:
            raise ConfigError("there must be a network to measure")
        if len(self.jobs) > MAX_NETWORKS:
            raise ConfigError(
                f"a device measures at most {MAX_NETWORKS} networks in turns, got {len(self.jobs)}"
            )
        batches = {subject.batch for subject in self.subjects}
        if len(batches) > 1:
            told = ", ".join(f"{s.name} {s.batch}" for s in self.subjects)
            raise ConfigError(
                f"networks are compared at one batch size, got {told}; export them with one --batch"
            )
        profile = find_profile(self.device.profile)
        if self.runtime is not None:
            if self.runtime not in RUNTIMES:
                near = did_you_mean(self.runtime, RUNTIMES)
                raise ConfigError(f"there is no runtime '{self.runtime}'; {near}")
            profile.check_runtimes(RUNTIMES[self.runtime])
        profile.check_precision(self.precision)
        if self.energy:
            profile.check_energy()
            self.grade.windows(0)
        if self.power_mode is not None:
            profile.check_power_mode(self.power_mode)
        elif self.lock_clocks and profile.power_modes == {}:
            raise ConfigError(f"{profile.title} has no clocks to lock; leave out --lock-clocks")

    @property
    def batch(self) -> int:
        """Images of one run."""
        return self.subjects[0].batch

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The agent's names for what may measure, tried in this order."""
        asked = None if self.runtime is None else RUNTIMES[self.runtime]
        profile = find_profile(self.device.profile)
        return tuple(name for name in profile.runtimes if asked is None or name in asked)

    @property
    def prefers_gpu(self) -> bool:
        """Whether figures of the device's processor would be something else than asked."""
        is_known = find_profile(self.device.profile).tensorrt is not None
        return is_known and self.runtimes[0] in TENSORRT

    @cached_property
    def jobs(self) -> tuple[Subject, ...]:
        """What the device runs: the networks, then each of them end to end if asked for."""
        if not self.end_to_end:
            return self.subjects
        pixels = "uint8" if self.runtimes == ("onnxruntime",) else "float32"
        return self.subjects + tuple(end_to_end(s, pixels=pixels) for s in self.subjects)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The device's name for each of `jobs`, which its messages use."""
        names: list[str] = []
        for subject in self.jobs:
            word = re.sub(r"[^a-z0-9]+", "-", subject.name.lower()).strip("-")[:_ID_CHARACTERS]
            name, number = word or "network", 1
            while name in names:
                number += 1
                name = f"{word or 'network'}-{number}"
            names.append(name)
        return tuple(names)

    def settings(self) -> dict[str, Any]:
        """Return all that was asked for, as JSON values."""
        return {
            "device": self.device.alias,
            "grade": self.grade.name,
            "precision": self.precision,
            "batch": self.batch,
            "threads": self.threads,
            "energy": self.energy,
            "power_mode": self.power_mode,
            "lock_clocks": self.lock_clocks,
            "end_to_end": self.end_to_end,
            "runtime": self.runtime,
            "timing": self.grade.timing(),
            "windows": vars(self.grade.energy) if self.energy and self.grade.energy else None,
            # Left out where it is not asked for, so that older answers keep their keys.
            **({"profile": True} if self.profile else {}),
        }

    def key(self, place: str) -> str:
        """Return what tells this request from every other.

        Args:
            place: what the device is and runs, from a look at it: `gensynth.bench.place`.
        """
        document = {
            **self.settings(),
            "place": place,
            "networks": [
                [subject.sha256, subject.inputs_sha256, *subject.fp32_layers]
                for subject in self.jobs
            ],
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def reference_key(self, place: str) -> str:
        """Return what tells the speed of a device, by its reference network, from every other."""
        settings = [place, self.threads, self.power_mode, self.lock_clocks, list(self.runtimes)]
        document = ["reference in turns", reference().sha256, *settings]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    @property
    def room_bytes(self) -> int:
        """How many bytes a record and its raw times and samples may take."""
        grade, each_s = self.grade, self.grade.rounds * self.grade.round_s
        times = 8 * min(MOST_RUNS, math.ceil(each_s / _SHORT_RUN_S))
        seconds = grade.seconds(len(self.jobs), energy=self.energy)
        polls = grade.energy.rate_hz * seconds if self.energy and grade.energy else 0.0
        return _RECORD_BYTES + len(self.jobs) * (times + _RECORD_BYTES) + math.ceil(16 * polls)

    def job(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return a job's specification under a new id, and its blobs by SHA-256."""
        blobs: dict[str, bytes] = {}
        networks = [
            _network(name, subject, blobs)
            for name, subject in zip(self.ids, self.jobs, strict=True)
        ]
        beside = None
        if self.grade.quiet is not None:
            turn_s = self.grade.quiet.reference_s
            beside = {**_network("reference", reference(), blobs), "turn_s": turn_s}
        job_id = uuid.uuid4().hex
        clocks = None
        if self.power_mode is not None or self.lock_clocks:
            clocks = {"power_mode": self.power_mode, "lock": True}
        spec = {
            "id": job_id,
            "networks": networks,
            "precision": self.precision,
            "runtimes": list(self.runtimes),
            "threads": self.threads,
            "build_only": False,
            "workspace_mib": WORKSPACE_MIB,
            "timing": self.grade.timing(),
            "reference": beside,
            "profile": self.profile,
            "energy": self.grade.windows(int(job_id[:15], 16)) if self.energy else None,
            "clocks": clocks,
            "limits": {
                "build_s": BUILD_S,
                "run_s": self.grade.limit_s(len(networks), energy=self.energy),
                "lease_s": LEASE_S,
            },
        }
        return spec, blobs


def _network(name: str, subject: Subject, blobs: dict[str, bytes]) -> dict[str, Any]:
    """Return a network as a job's specification has it, and add its blobs."""
    blobs[subject.sha256] = subject.content
    inputs = []
    for tensor, array in subject.feed.items():
        content = np.ascontiguousarray(array).tobytes()
        sha256 = hashlib.sha256(content).hexdigest()
        blobs[sha256] = content
        given = {"name": tensor, "dtype": str(array.dtype), "shape": list(array.shape)}
        inputs.append({**given, "blob": sha256})
    return {
        "id": name,
        "onnx": subject.sha256,
        "inputs": inputs,
        "fp32_layers": subject.fp32_layers,
    }


def parse_modes(text: str | None, profile: Profile) -> list[int | None]:
    """Return the power modes of a text such as "0,2"; without one, that the device is in.

    Raises:
        ConfigError: if one cannot be meant, or the device is known not to have it.
    """
    if text is None:
        return [None]
    modes: list[int | None] = []
    for word in text.split(","):
        if not word.strip().isdecimal() or int(word) > _MODE_AT_MOST:
            raise ConfigError(f"power modes are nvpmodel's numbers such as 0,1,2, got {text!r}")
        profile.check_power_mode(int(word))
        modes.append(int(word))
    return modes


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return sizes by input from texts such as "x=1,3,48,320".

    Raises:
        ConfigError: if one cannot be meant.
    """
    shapes = {}
    for text in texts:
        name, found, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        except ValueError:
            shape = (0,)
        if not found or not name or min(shape, default=1) < 1:
            raise ConfigError(f"a shape is NAME=SIZE,SIZE,... such as x=1,3,224,224, got {text!r}")
        shapes[name] = shape
    return shapes


def parse_inputs(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return arrays by input from texts such as "x=images.npy".

    Raises:
        ConfigError: if one cannot be meant, or its file cannot be read.
    """
    inputs = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file:
            raise ConfigError(f"an input is NAME=FILE.npy, got {text!r}")
        try:
            check_plain(Path(file), SAMPLES_BYTES)
            loaded = np.load(file, allow_pickle=False)
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from error
        except (ValueError, EOFError, MemoryError) as error:  # the last of a size that it claims
            raise ConfigError(f"{file} is no array that numpy.save has written: {error}") from error
        if not isinstance(loaded, np.ndarray):
            raise ConfigError(f"{file} must hold one array, got {type(loaded).__name__}")
        inputs[name] = loaded
    return inputs
