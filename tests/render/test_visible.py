"""What others wrote can be read in a terminal, and moves nothing there."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.render.live import Live, console
from gensynth.render.visible import say, visible

MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@given(st.text(st.characters()))
def test_no_character_that_moves_anything_is_left(text: str) -> None:
    assert not MOVES.search(visible(text))
    visible(text).encode()  # and a stream takes it


def test_plain_text_is_left_as_it_is() -> None:
    text = "naïve 日本 ✓\ta\nb"
    assert visible(text) == text


def test_escapes_are_written_out() -> None:
    assert visible("\x1b[1A\x1b[2Kworks\r\u202e") == r"\x1b[1A\x1b[2Kworks\x0d\u202e"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_shows_them_and_keeps_its_own_colours(terminal: bool) -> None:
    file = io.StringIO()
    screen = console(file=file, terminal=terminal)
    screen.print("node \x1b[2Kx violated")
    printed = file.getvalue()
    assert r"node \x1b[2Kx " in printed
    assert "\x1b[2K" not in printed
    assert ("\x1b[31m" in printed) == terminal  # its own


def test_notes_and_bars_show_them() -> None:
    file = io.StringIO()
    with Live(console(file=file, terminal=True)) as live:
        live.phase("export")
        live.note("a board says \x1b[8m")
        live.progress("networks", 0.5, "name\x1b[9m")
    assert r"a board says \x1b[8m" in file.getvalue()
    assert "\x1b[8m" not in file.getvalue()
    assert "\x1b[9m" not in file.getvalue()


def test_a_message_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    say("error: \x1b]0;title\x07", err=True)
    assert capsys.readouterr().err == "error: \\x1b]0;title\\x07\n"
