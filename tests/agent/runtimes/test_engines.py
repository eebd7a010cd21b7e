"""Engines kept on a board: found again when nothing changed, and never otherwise."""

import os
from pathlib import Path
from typing import Any

import pytest

from gensynth.devices.agent.runtimes.engines import EngineCache, engine_key
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault

PARTS = {
    "builder": "tensorrt", "tensorrt": "8.2.1.8", "cuda": "10.2", "capability": "6.2",
    "multiprocessors": 2, "board": "quill/0123456789abcdef", "onnx": "a" * 64,
    "precision": "fp16", "flags": ["FP16"], "workspace_mib": 64, "shapes": {"x": [1, 3, 8, 8]},
}  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    spool = Spool(str(tmp_path))
    return EngineCache(spool.engines, spool.write)


def test_an_engine_is_found_as_it_was_kept(cache: EngineCache) -> None:
    assert cache.find(PARTS) is None
    layers = [{"name": "conv", "precision": "fp16"}]
    kept = cache.keep(PARTS, b"plan", 12.5, "log", layers)
    assert cache.find(PARTS) == kept
    assert (kept.build_s, kept.log, kept.layers) == (12.5, "log", layers)
    assert Path(kept.path).read_bytes() == b"plan"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("builder", "trtexec"), ("tensorrt", "8.2.1.9"), ("cuda", "11.4"), ("capability", "7.2"),
        ("multiprocessors", 6), ("board", "quill/fedcba9876543210"), ("onnx", "b" * 64),
        ("precision", "fp32"), ("flags", []), ("workspace_mib", 16), ("shapes", {"x": [2, 8]}),
        ("multiprocessors", None),
    ],
)  # fmt: skip
def test_an_engine_with_any_other_part_is_another_engine(
    cache: EngineCache, part: str, value: Any
) -> None:
    cache.keep(PARTS, b"plan", 1.0, "")
    assert cache.find({**PARTS, part: value}) is None
    assert engine_key({**PARTS, part: value}) != engine_key(PARTS)


def test_the_order_of_parts_makes_no_difference(cache: EngineCache) -> None:
    kept = cache.keep(PARTS, b"plan", 1.0, "")
    assert cache.find(dict(reversed(PARTS.items()))) == kept


@pytest.mark.parametrize(
    ("ending", "content"),
    [("plan", b"plaN"), ("plan", b""), ("json", b""), ("json", b"{}"), ("json", b"[1, 2"),
     ("json", b"\xff"), ("json", b"null")],
)  # fmt: skip
def test_an_engine_that_is_damaged_is_not_found(
    cache: EngineCache, ending: str, content: bytes
) -> None:
    kept = cache.keep(PARTS, b"plan", 1.0, "")
    Path(kept.path).with_suffix(f".{ending}").write_bytes(content)
    assert cache.find(PARTS) is None
    assert cache.keep(PARTS, b"plan", 2.0, "") == cache.find(PARTS)


@pytest.mark.parametrize("ending", ["plan", "json"])
def test_an_engine_of_which_half_is_there_is_not_found(cache: EngineCache, ending: str) -> None:
    kept = cache.keep(PARTS, b"plan", 1.0, "")
    Path(kept.path).with_suffix(f".{ending}").unlink()
    assert cache.find(PARTS) is None


def test_a_record_that_is_put_beside_another_plan_does_not_count(cache: EngineCache) -> None:
    # As when a folder of engines is copied from board to board and files are renamed.
    other = {**PARTS, "board": "another"}
    kept, copied = cache.keep(PARTS, b"plan", 1.0, ""), cache.keep(other, b"plan", 1.0, "")
    Path(kept.path).with_suffix(".json").replace(Path(copied.path).with_suffix(".json"))
    assert cache.find(other) is None


def test_what_is_used_stays_longest(cache: EngineCache) -> None:
    kept = cache.keep(PARTS, b"plan", 1.0, "")
    os.utime(kept.path, (1, 1))
    cache.find(PARTS)
    assert Path(kept.path).stat().st_mtime > 1


def test_a_forgotten_engine_is_gone(cache: EngineCache) -> None:
    kept = cache.keep(PARTS, b"plan", 1.0, "")
    cache.forget(PARTS)
    cache.forget(PARTS)  # twice is no error
    assert list(Path(kept.path).parent.iterdir()) == []


def test_what_builds_measured_is_kept_for_their_context(cache: EngineCache) -> None:
    context = {"tensorrt": "8.2.1.8", "board": "a"}
    assert cache.timings(context) == b""
    cache.keep_timings(context, b"measured")
    assert cache.timings(context) == b"measured"
    assert cache.timings({**context, "tensorrt": "8.6.1"}) == b""


def test_a_full_disk_keeps_no_half_of_an_engine(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))

    def write(path: str, content: bytes) -> None:
        if path.endswith(".json"):
            raise Fault("build_failed", "no room", {"cause": "disk"})
        spool.write(path, content)

    cache = EngineCache(spool.engines, write)
    with pytest.raises(Fault, match="no room"):
        cache.keep(PARTS, b"plan", 1.0, "")
    assert cache.find(PARTS) is None


def test_a_key_is_a_hash_of_plain_json() -> None:
    # printf '{"a": [1], "b": null}' | sha256sum
    sha256 = "45d68d5510776a9556a5fe7199f8b897170b09829dd0dd6dd5d654e6daa19d5a"
    assert engine_key({"b": None, "a": [1]}) == sha256
    with pytest.raises(ValueError, match="Out of range float values"):
        engine_key({"nan": float("nan")})
