"""The ledger against kills, torn files and second looks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.atomic_files import file_sha256
from gensynth.data.dataset import Split
from gensynth.errors import RunError
from gensynth.goals.ledger import Ledger
from gensynth.goals.score import Proportion, Score


class Eye:
    """Counts how often the images were looked at."""

    def __init__(self, correct: int) -> None:
        self.correct = correct
        self.looks = 0

    def __call__(self) -> Score:
        self.looks += 1
        return Proportion("top1", self.correct, 100)


def count(ledger: Ledger, network: str, split: str, look: Callable[[], Score]) -> Score:
    return ledger.score(network, split, look, metric="top1", n=100)


def recorded(ledger: Ledger, network: str, split: str) -> Score | None:
    return ledger.recorded(network, split, "top1")


def right(correct: int) -> Score:
    return Proportion("top1", correct, 100)


def test_a_network_is_counted_once_and_then_answered_from_the_record(tmp_path: Path) -> None:
    eye = Eye(90)
    assert count(Ledger(tmp_path / "ledger.jsonl"), "net", "test", eye) == right(90)
    again = Eye(55)
    assert count(Ledger(tmp_path / "ledger.jsonl"), "net", "test", again) == right(90)
    assert (eye.looks, again.looks) == (1, 0)
    assert recorded(Ledger(tmp_path / "ledger.jsonl"), "net", "test") == right(90)


def test_another_network_or_another_split_is_another_touch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert count(ledger, "a", "test", Eye(90)) == right(90)
    assert count(ledger, "b", "test", Eye(80)) == right(80)
    assert count(ledger, "a", "other", Eye(70)) == right(70)
    events = [(e["event"], e["network"], e["split"]) for e in ledger.entries()]
    assert events == [
        ("touch", "a", "test"), ("result", "a", "test"),
        ("touch", "b", "test"), ("result", "b", "test"),
        ("touch", "a", "other"), ("result", "a", "other"),
    ]  # fmt: skip


def test_the_touch_is_on_disk_before_the_images_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    def look() -> Score:
        assert json.loads(path.read_bytes())["event"] == "touch"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count(Ledger(path), "net", "test", look)
    assert recorded(Ledger(path), "net", "test") is None
    assert count(Ledger(path), "net", "test", Eye(90)) == right(90)
    assert [e["event"] for e in Ledger(path).entries()] == ["touch", "touch", "result"]


@given(cut=st.integers(0, 400))
def test_a_ledger_torn_at_any_byte_is_mended_and_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    ledger = Ledger(path)
    count(ledger, "a", "test", Eye(90))
    count(ledger, "b", "test", Eye(80))
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    assert len(ledger.entries()) == content.count(b"\n")
    count(ledger, "c", "test", Eye(70))
    assert path.read_bytes().startswith(content[: content.rfind(b"\n") + 1])
    assert recorded(ledger, "c", "test") == right(70)
    assert len(ledger.entries()) == content.count(b"\n") + 2


@pytest.mark.parametrize(
    "damage", [b"{}\n", b"nonsense\n", b'{"event": "touch", "x": 1}\n', b"[]\n"]
)
def test_a_damaged_line_is_refused_and_the_images_are_not_touched(
    tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "ledger.jsonl"
    count(Ledger(path), "a", "test", Eye(90))
    path.write_bytes(damage + path.read_bytes())
    eye = Eye(80)
    with pytest.raises(RunError, match=r"ledger\.jsonl is damaged in line 1"):
        count(Ledger(path), "b", "test", eye)
    assert eye.looks == 0


def test_where_the_touch_cannot_be_recorded_the_images_are_not_touched(tmp_path: Path) -> None:
    eye = Eye(90)
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        count(Ledger(tmp_path / "absent" / "ledger.jsonl"), "a", "test", eye)
    assert eye.looks == 0


def test_a_score_of_other_images_than_those_asked_about_is_not_recorded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(ValueError, match="the score must be of all 200 images, got one of 100"):
        ledger.score("a", "test", Eye(90), metric="top1", n=200)
    assert recorded(ledger, "a", "test") is None


def test_a_line_of_an_impossible_score_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    count(Ledger(path), "a", "test", Eye(90))
    path.write_text(path.read_text().replace('"correct": 90', '"correct": 101'))
    with pytest.raises(RunError, match=r"ledger\.jsonl is damaged in line 2"):
        Ledger(path).entries()


def test_keys_change_with_every_byte_that_matters(tmp_path: Path) -> None:
    images = np.zeros((2, 1, 2, 2), np.uint8)
    labels = np.array([0, 1], np.int64)
    key = Split("test", images, labels).sha256
    assert key == Split("again", images.copy(), labels.copy()).sha256
    one_pixel = images.copy()
    one_pixel[1, 0, 1, 1] = 1
    assert key != Split("test", one_pixel, labels).sha256
    assert key != Split("test", images, labels[::-1].copy()).sha256
    assert key != Split("test", images.reshape(2, 1, 4, 1), labels).sha256
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
