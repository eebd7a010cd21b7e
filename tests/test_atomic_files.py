"""What survives a power cut: bytes are on the disk before their name is, and names after that.

A spy notes every fsync and rename in order, by the path that it is of. A file system may write
a rename before the bytes that it makes visible, and loses both a new name and a new line that
nobody flushed: each claim here is one such loss.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gensynth import atomic_files
from gensynth.goals.ledger import Ledger
from gensynth.goals.score import Proportion, Score

Events = list[tuple[str, str]]


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Events:
    """("sync", name) and ("rename", new name) in order, names relative to the test's folder."""
    seen: Events = []

    def name(path: Any) -> str:
        return os.path.relpath(path, tmp_path)

    def sync(descriptor: int) -> None:
        seen.append(("sync", name(Path(f"/proc/self/fd/{descriptor}").readlink())))

    def renaming(rename: Callable[..., None]) -> Callable[..., None]:
        def spy(old: Any, new: Any, **options: Any) -> None:
            seen.append(("rename", name(new)))
            rename(old, new, **options)

        return spy

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", renaming(os.rename))
    monkeypatch.setattr(os, "replace", renaming(os.replace))
    return seen


def test_a_files_bytes_come_before_its_name_and_its_name_before_the_end(
    tmp_path: Path, events: Events
) -> None:
    atomic_files.write_bytes(tmp_path / "a", b"1")
    assert events == [("sync", ".partial-a"), ("rename", "a"), ("sync", ".")]


def test_the_bytes_are_written_before_they_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    atomic_files.write_bytes(tmp_path / "a", b"12345")
    assert sizes[0] == 5


def test_a_folders_files_come_before_their_names_and_these_before_the_folders(
    tmp_path: Path, events: Events
) -> None:
    atomic_files.write_folder(tmp_path / "a", {"x": b"1", "y": b"2"})
    assert events == [
        ("sync", ".partial-a/x"), ("sync", ".partial-a/y"), ("sync", ".partial-a"),
        ("rename", "a"), ("sync", "."),
    ]  # fmt: skip


def test_a_replaced_folder_is_flushed_before_the_old_one_goes(
    tmp_path: Path, events: Events
) -> None:
    atomic_files.write_folder(tmp_path / "a", {"x": b"1"})
    events.clear()
    atomic_files.write_folder(tmp_path / "a", {"x": b"2"})
    assert events == [
        ("sync", ".partial-a/x"), ("sync", ".partial-a"),
        ("rename", ".old-a"), ("rename", "a"), ("sync", "."),
    ]  # fmt: skip


def test_an_appended_line_is_flushed_and_a_new_files_name_too(
    tmp_path: Path, events: Events
) -> None:
    atomic_files.append(tmp_path / "a", b"1\n")
    assert events == [("sync", "a"), ("sync", ".")]
    events.clear()
    atomic_files.append(tmp_path / "a", b"2\n")
    assert events == [("sync", "a")]
    assert (tmp_path / "a").read_bytes() == b"1\n2\n"


def test_a_touch_of_the_test_split_is_on_the_disk_before_its_images_are_seen(
    tmp_path: Path, events: Events
) -> None:
    path = tmp_path / "ledger.jsonl"

    def look() -> Score:
        events.append(("look", path.read_text().splitlines()[-1].partition('"event": ')[2][:8]))
        return Proportion("top1", 3, 4)

    Ledger(path).score("network", "split", look, metric="top1", n=4)
    assert events == [
        ("sync", "ledger.jsonl"), ("sync", "."), ("look", '"touch",'), ("sync", "ledger.jsonl"),
    ]  # fmt: skip


def test_what_one_keeps_stays_where_a_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    atomic_files.write_folder(folder, {"x": b"1", "gone": b"1"})
    (folder / "mine").mkdir()
    (folder / "mine" / "notes").write_bytes(b"kept")
    (folder / "link").symlink_to("x")
    atomic_files.write_folder(folder, {"x": b"2"}, keep={"mine", "link"})
    assert sorted(path.name for path in folder.iterdir()) == ["link", "mine", "x"]
    assert (folder / "mine" / "notes").read_bytes() == b"kept"
    assert (folder / "link").readlink() == Path("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_one_keeps_is_in_the_new_folder_before_the_old_one_goes(
    tmp_path: Path, events: Events
) -> None:
    folder = tmp_path / "a"
    atomic_files.write_folder(folder, {"x": b"1"})
    (folder / "mine").mkdir()
    events.clear()
    atomic_files.write_folder(folder, {"x": b"2"}, keep={"mine"})
    assert events.index(("sync", ".partial-a/mine")) < events.index(("rename", ".old-a"))


def test_what_one_keeps_is_copied_and_flushed_where_there_are_no_hard_links(
    tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    folder = tmp_path / "a"
    atomic_files.write_folder(folder, {"x": b"1"})
    (folder / "mine").write_bytes(b"kept")
    monkeypatch.setattr(os, "link", refuse)
    events.clear()
    atomic_files.write_folder(folder, {"x": b"2"}, keep={"mine"})
    assert (folder / "mine").read_bytes() == b"kept"
    assert events.index(("sync", ".partial-a/mine")) < events.index(("rename", ".old-a"))


@pytest.mark.parametrize("times", [1, 2])
def test_a_link_to_a_folder_stays_one_and_what_it_leads_to_is_replaced(
    tmp_path: Path, times: int
) -> None:
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to("elsewhere/a")
    for number in range(times):
        atomic_files.write_folder(link, {"x": b"%d" % number})
    assert link.readlink() == Path("elsewhere/a")
    assert (tmp_path / "elsewhere" / "a" / "x").read_bytes() == b"%d" % (times - 1)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "elsewhere", "link", "x"]


def test_a_folder_that_was_being_replaced_is_put_back_by_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    atomic_files.write_folder(folder, {"x": b"1"})
    (folder / "mine").write_bytes(b"kept")
    folder.rename(tmp_path / ".old-a")  # killed between the two renames
    atomic_files.put_back(folder)
    assert (folder / "mine").read_bytes() == b"kept"
    shadow = tmp_path / ".old-a"
    shadow.mkdir()  # killed after them
    atomic_files.write_folder(folder, {"x": b"2"}, keep={"mine"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
