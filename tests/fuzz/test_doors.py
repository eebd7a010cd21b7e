"""A few altered inputs at every door; `python -m tests.fuzz` tries as many as there is time for."""

import contextlib
from pathlib import Path
from random import Random

import pytest

from gensynth.devices.agent.wire.status import Fault
from gensynth.errors import GensynthError
from tests.fuzz.agent_doors import DOORS as AGENT_DOORS
from tests.fuzz.data_doors import DOORS as DATA_DOORS
from tests.fuzz.doors import DOORS
from tests.fuzz.onnx_doors import DOORS as ONNX_DOORS
from tests.fuzz.user_doors import DOORS as USER_DOORS

FOUND = {
    "masks": (1276, 2413), "settings": (4_000_345, 4_001_978), "limits": (4_006_674,),
    "foreign": (26, 80, 289, 303, 9_000_071), "checkpoint": (29,), "told": (7_006_195,),
    "answers": (7_000_409, 9_000_416),
    "result": (9_000_634,), "inspect": (9_000_854,),
}  # fmt: skip
"""Inputs that ended in a traceback once."""

EVERY = DOORS | USER_DOORS | DATA_DOORS | ONNX_DOORS | AGENT_DOORS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("door", EVERY)
def test_altered_input_gives_one_of_our_errors_or_is_read(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("CONFIG", "DATA", "CACHE"):  # what is damaged there is no other test's
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    attempt = EVERY[door](tmp_path)
    for number in (*range(20), *FOUND.get(door, ())):
        with contextlib.suppress(GensynthError, Fault):
            attempt(Random(f"{door} {number}"))
