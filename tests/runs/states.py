"""States of a run whose content tells their cycle, and whether a folder of them is whole."""

import json
from pathlib import Path

from gensynth.runs.folder import RunFolder


def state(cycle: int) -> dict[str, bytes]:
    """Two files whose content tells the cycle."""
    return {"generator.json": f'{{"cycle": {cycle}}}'.encode(), "weights": bytes([cycle]) * 5000}


def commit(path: Path, *cycles: int) -> None:
    """Go on with cycles."""
    with RunFolder.open(path) as run:
        for cycle in cycles:
            run.commit_state(cycle, state(cycle), {"utility": cycle / 4})


def assert_consistent(path: Path) -> int:
    """The last good state and the journal tell the same story; return its last cycle or -1."""
    with RunFolder.open(path) as run:
        last = run.latest_state()
        journal = run.read_journal()
        on_disk = (path / "journal.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in on_disk] == journal
        assert [entry["cycle"] for entry in journal] == list(range(len(journal)))
        assert not list(path.rglob(".*"))
        if last is None:
            assert journal == []
            return -1
        cycle, folder = last
        assert len(journal) == cycle + 1
        files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "entry.json"}
        assert files == state(cycle)
        return cycle
