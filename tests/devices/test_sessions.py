"""One session lasts while a search trains, and is made anew where the cable was pulled."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gensynth.devices import sessions as module
from gensynth.devices.sessions import Sessions
from gensynth.errors import DeviceFault
from tests.fakes.board import Board


def test_a_session_that_an_error_broke_off_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Half an answer may be left in it, which the next question would take for its own.
    opened: list[str] = []

    @contextmanager
    def connect(device: str) -> Iterator[SimpleNamespace]:
        opened.append(device)
        yield SimpleNamespace(check_alive=lambda: None, beat=lambda: None)

    monkeypatch.setattr(module, "connect", connect)
    device: Any = "tx2"
    with closing(Sessions()) as sessions:
        with pytest.raises(KeyboardInterrupt), sessions(device):
            raise KeyboardInterrupt
        for _ in range(2):
            with sessions(device):
                pass
    assert len(opened) == 2


def test_a_session_lasts_and_one_that_was_lost_is_made_anew(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.05)
    with closing(Sessions()) as sessions:
        with sessions(board.device) as first:
            boot = first.facts()["boot_id"]
        before = board.relay.connections
        time.sleep(0.2)  # a training, with beats meanwhile
        with sessions(board.device) as again:
            assert again is first
            assert again.facts()["boot_id"] == boot
        assert board.relay.connections == before
        board.relay.cut()
        with sessions(board.device) as anew:
            assert anew is not first
            assert anew.facts()["boot_id"] == boot
            board.relay.cut()
            with pytest.raises(DeviceFault):
                anew.facts()
        with sessions(board.device) as last:
            assert last.facts()["boot_id"] == boot
    assert board.leftovers() == []
