"""Engines kept on the board, each under the hash of all that it depends on.

    <key>.plan    the serialized engine
    <key>.json    what the key is made of, the plan's sha256, how it was built; written last,
                  so a plan without it does not count
    timings-<key>.cache   what TensorRT measured while building, for the next build

An engine runs on the board and with the versions that built it, and nothing in its bytes
protects from another's. So a plan is only handed out when every part of its key and its own
hash are as they were stored.
"""

import hashlib
import json
import os
from contextlib import suppress
from typing import Any, Callable, Dict, List, NamedTuple, Optional

Parts = Dict[str, Any]


class Kept(NamedTuple):
    """An engine of the cache.

    Attributes:
        path: of its plan.
        build_s: seconds that its build took, when it was built.
        log: the build's bounded log.
        layers: the builder's own list of them; None where only the engine itself can tell.
    """

    path: str
    build_s: float
    log: str
    layers: Optional[List[Dict[str, str]]] = None


def engine_key(parts: Parts) -> str:
    """Return the name under which an engine made of these parts is kept."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class EngineCache:
    """The engines in one folder.

    Args:
        folder: of engines and nothing else; files that it loses are built anew.
        write: writes a file wholly or not at all, or raises a fault.
    """

    def __init__(self, folder: str, write: Callable[[str, bytes], None]) -> None:
        self._folder = folder
        self._write = write

    def find(self, parts: Parts) -> Optional[Kept]:
        """Return the engine made of exactly these parts, its plan unharmed; else None."""
        try:
            with open(self._path(parts, "json"), encoding="utf-8") as file:
                record = json.load(file)
            if record["parts"] != json.loads(json.dumps(parts)):
                return None
            if record["sha256"] != _sha256(self._path(parts, "plan")):
                return None
            kept = Kept(
                self._path(parts, "plan"),
                float(record["build_s"]),
                str(record["log"]),
                record["layers"],
            )
            for ending in ("plan", "json"):  # used now: the oldest unused are cleared away
                os.utime(self._path(parts, ending), None)
            return kept
        except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: build anew
            return None

    def keep(
        self,
        parts: Parts,
        plan: bytes,
        build_s: float,
        log: str,
        layers: Optional[List[Dict[str, str]]] = None,
    ) -> Kept:
        """Store an engine.

        Raises:
            Fault: what `write` raises.
        """
        path = self._path(parts, "plan")
        self._write(path, plan)
        record = {
            "parts": parts,
            "sha256": hashlib.sha256(plan).hexdigest(),
            "build_s": build_s,
            "log": log,
            "layers": layers,
        }
        self._write(self._path(parts, "json"), json.dumps(record).encode("utf-8"))
        return Kept(path, build_s, log, layers)

    def forget(self, parts: Parts) -> None:
        """Remove an engine that the runtime does not take back."""
        for ending in ("json", "plan"):
            with suppress(FileNotFoundError):
                os.remove(self._path(parts, ending))

    def timings(self, context: Parts) -> bytes:
        """Return what builds in this context have measured so far; nothing at first."""
        try:
            with open(self._timings_path(context), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def keep_timings(self, context: Parts, timings: bytes) -> None:
        """Store what builds in this context have measured."""
        self._write(self._timings_path(context), timings)

    def _path(self, parts: Parts, ending: str) -> str:
        return os.path.join(self._folder, f"{engine_key(parts)}.{ending}")

    def _timings_path(self, context: Parts) -> str:
        return os.path.join(self._folder, f"timings-{engine_key(context)}.cache")


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()
