"""The ledger against kills, torn files and second looks."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.data.dataset import Split
from gensynth.errors import RunError
from gensynth.goals.ledger import Ledger, split_sha256, weights_sha256


class Eye:
    """Counts how often the images were looked at."""

    def __init__(self, correct: int) -> None:
        self.correct = correct
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        return self.correct


def test_a_network_is_counted_once_and_then_answered_from_the_record(tmp_path: Path) -> None:
    eye = Eye(90)
    assert Ledger(tmp_path / "ledger.jsonl").count("net", "test", eye, n=100) == 90
    again = Eye(55)
    assert Ledger(tmp_path / "ledger.jsonl").count("net", "test", again, n=100) == 90
    assert (eye.looks, again.looks) == (1, 0)
    assert Ledger(tmp_path / "ledger.jsonl").recorded("net", "test") == (90, 100)


def test_another_network_or_another_split_is_another_touch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.count("a", "test", Eye(90), n=100) == 90
    assert ledger.count("b", "test", Eye(80), n=100) == 80
    assert ledger.count("a", "other", Eye(70), n=100) == 70
    events = [(e["event"], e["network"], e["split"]) for e in ledger.entries()]
    assert events == [
        ("touch", "a", "test"), ("result", "a", "test"),
        ("touch", "b", "test"), ("result", "b", "test"),
        ("touch", "a", "other"), ("result", "a", "other"),
    ]  # fmt: skip


def test_the_touch_is_on_disk_before_the_images_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    def look() -> int:
        assert json.loads(path.read_bytes())["event"] == "touch"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ledger(path).count("net", "test", look, n=100)
    assert Ledger(path).recorded("net", "test") is None
    assert Ledger(path).count("net", "test", Eye(90), n=100) == 90
    assert [e["event"] for e in Ledger(path).entries()] == ["touch", "touch", "result"]


@given(cut=st.integers(0, 400))
def test_a_ledger_torn_at_any_byte_is_mended_and_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.count("a", "test", Eye(90), n=100)
    ledger.count("b", "test", Eye(80), n=100)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    assert len(ledger.entries()) == content.count(b"\n")
    ledger.count("c", "test", Eye(70), n=100)
    assert path.read_bytes().startswith(content[: content.rfind(b"\n") + 1])
    assert ledger.recorded("c", "test") == (70, 100)
    assert len(ledger.entries()) == content.count(b"\n") + 2


@pytest.mark.parametrize(
    "damage", [b"{}\n", b"nonsense\n", b'{"event": "touch", "x": 1}\n', b"[]\n"]
)
def test_a_damaged_line_is_refused_and_the_images_are_not_touched(
    tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).count("a", "test", Eye(90), n=100)
    path.write_bytes(damage + path.read_bytes())
    eye = Eye(80)
    with pytest.raises(RunError, match=r"ledger\.jsonl is damaged in line 1"):
        Ledger(path).count("b", "test", eye, n=100)
    assert eye.looks == 0


def test_where_the_touch_cannot_be_recorded_the_images_are_not_touched(tmp_path: Path) -> None:
    eye = Eye(90)
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        Ledger(tmp_path / "absent" / "ledger.jsonl").count("a", "test", eye, n=100)
    assert eye.looks == 0


def test_a_count_that_cannot_be_is_not_recorded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(ValueError, match=r"correct must be in \[0, 100\], got 101"):
        ledger.count("a", "test", Eye(101), n=100)
    assert ledger.recorded("a", "test") is None


def test_keys_change_with_every_byte_that_matters(tmp_path: Path) -> None:
    images = np.zeros((2, 1, 2, 2), np.uint8)
    labels = np.array([0, 1], np.int64)
    key = split_sha256(Split("test", images, labels))
    assert key == split_sha256(Split("again", images.copy(), labels.copy()))
    one_pixel = images.copy()
    one_pixel[1, 0, 1, 1] = 1
    assert key != split_sha256(Split("test", one_pixel, labels))
    assert key != split_sha256(Split("test", images, labels[::-1].copy()))
    assert key != split_sha256(Split("test", images.reshape(2, 1, 4, 1), labels))
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert weights_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
