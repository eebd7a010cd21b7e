"""One session lasts while a search trains, and is made anew where the cable was pulled."""

import time
from contextlib import closing

import pytest

from gensynth.devices import sessions as module
from gensynth.devices.sessions import Sessions
from gensynth.errors import DeviceFault
from tests.fakes.board import Board


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
