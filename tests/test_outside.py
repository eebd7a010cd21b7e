"""What comes from outside is read within bounds, and what is odd in it is said in one sentence."""

import os
from pathlib import Path

import pytest
from typing_extensions import TypedDict

from gensynth.outside import Finite, Form, Natural, named_path, read_bytes, read_text, within


class Known(TypedDict):
    """A document to try."""

    size: Natural
    shares: list[Finite]


KNOWN: Form[Known] = Form(Known)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "recursion limit exceeded"),
        ('{"size": ' + "9" * 5000 + "}", "number out of range"),
        ('{"shares": []}', "size is missing"),
        ('{"size": "1", "shares": []}', "size must be a whole number, got '1'"),
        ('{"size": 1e999, "shares": []}', "size must be a"),
        ('{"size": 1, "shares": [0.5, 1e999]}', r"shares\[1\] must be a finite number, got inf"),
        ('{"size": 1, "shares": {"a": 1}}', "shares must be a list, got an object"),
        ('{"size": 1, "shares": ["\\ud800"]}', "surrogate|escape"),
        ("", "EOF"),
    ],
)
def test_what_a_document_lacks_is_one_short_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        KNOWN.read(text)
    message = str(refused.value)
    assert len(message) < 200
    assert "\n" not in message


def test_values_that_were_read_elsewhere_are_held_against_the_same_form() -> None:
    assert KNOWN.check({"size": 3, "shares": (0.5,), "more": None})["shares"] == [0.5]
    with pytest.raises(ValueError, match="shares is missing"):
        KNOWN.check({"size": 3})


def test_a_byte_order_mark_of_windows_is_no_part_of_a_document(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"size": 3, "shares": []}'
    assert KNOWN.read(content)["size"] == 3
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbftext")
    assert read_text(tmp_path / "text") == "text"


def test_only_plain_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"12345")
    assert read_bytes(tmp_path / "small", 5) == b"12345"
    with pytest.raises(OSError, match="at most 4 bytes, and has 5"):
        read_bytes(tmp_path / "small", 4)
    os.mkfifo(tmp_path / "pipe")
    writing = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)  # no one waits for it
    os.write(writing, b"12")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="must be a plain file"):
            read_bytes(path, 1)  # a pipe has no end, and /dev/zero neither
    os.close(writing)


@pytest.mark.parametrize("name", ["a\0b", "x" * 256, "a/" * 3000, "~no-such-user-here/x"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no file can be named|no home"):
        named_path(name)


def test_a_bound_is_named_with_what_came() -> None:
    within(7, 7, "the sides")
    with pytest.raises(ValueError, match="the sides must be at most 7, got 1,000"):
        within(1000, 7, "the sides")
    with pytest.raises(ValueError, match=r"got about 10\^4999"):
        within(10**5000, 7, "the sides")


def test_a_bound_is_the_last_number_that_is_taken() -> None:
    within(10, 10, "the padding")
    with pytest.raises(ValueError, match="the padding must be at most 10, got 11"):
        within(11, 10, "the padding")
