"""What TensorRT writes, bounded, and the failures that its log explains."""

import re
from typing import Any, List

from gensynth.devices.agent.wire.status import Fault

LOG_LIMIT = 32 << 10

_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|insufficient memory|cudaErrorMemoryAllocation|bad_alloc", re.IGNORECASE
)


class Log:
    """The beginning and the end of what TensorRT wrote, bounded."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._first: List[str] = []
        self._last: List[str] = []
        self._first_size = self._last_size = 0

    def add(self, line: str) -> None:
        """Append a line; the middle of a long log is left out."""
        line = line[:2000]
        if self._first_size + len(line) < LOG_LIMIT // 2:
            self._first.append(line)
            self._first_size += len(line) + 1
            return
        self._last.append(line)
        self._last_size += len(line) + 1
        while self._last_size > LOG_LIMIT // 2:
            self._last_size -= len(self._last.pop(0)) + 1

    def text(self) -> str:
        """Return the lines, at most `LOG_LIMIT` characters."""
        return "\n".join(self._first + self._last)

    @property
    def is_out_of_memory(self) -> bool:
        """Whether an error says that memory ran out; tactics that did not fit are warnings."""
        return any(_OUT_OF_MEMORY.search(error) for error in self._errors())

    @property
    def last_error(self) -> str:
        """The last error, or else the last line."""
        return (self._errors() or self._first + self._last or ["its log is empty"])[-1]

    def _errors(self) -> List[str]:
        return [line for line in self._first + self._last if "ERROR]" in line]


def tensorrt_logger(trt: Any, log: Log) -> Any:
    """Return a logger of TensorRT's own class that keeps errors, warnings and information."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) < int(trt.ILogger.VERBOSE):
                log.add(f"[{member_name(severity)}] {message}")

    return Logger()


def failure(version: str, what: str, log: Log) -> Fault:
    """Return why TensorRT did not make something: `oom` or `build_failed`."""
    text = log.text()
    return Fault(
        "oom" if log.is_out_of_memory else "build_failed",
        f"TensorRT {version} must make {what}, got none: {log.last_error}",
        {"tensorrt": version, "log": text},
    )


def member_name(member: Any) -> str:
    """Return the name of a member of an enumeration, as every pybind11 spells it."""
    return str(getattr(member, "name", member)).rsplit(".", maxsplit=1)[-1]
