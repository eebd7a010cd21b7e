"""A network's card, read: what it claims holds of the files that it was written for alone.

    read_card       a folder -> its card; refused beside other files than its own
    check_card      the same of a card that was read already
    differing       which files beside a card are not its own
    hashes          what a new card says of the files beside it

A card names the files beside it by their SHA-256. One of an earlier version, which does not, is
held against the ledger of its run: what is not on record there, with the card's own score, was
never certified so.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gensynth.atomic_files import file_sha256
from gensynth.errors import RunError
from gensynth.goals.card_form import CARD
from gensynth.goals.ledger import Ledger
from gensynth.goals.metrics import TOP1, stand_in
from gensynth.graph.files import CARD_FILE, GRAPH_FILE, ONNX_FILE, WEIGHTS_FILE
from gensynth.outside import read_bytes
from gensynth.run_files import LEDGER_FILE, PROTOTYPE, run_of

CARD_FORMAT = 1
FILES = (GRAPH_FILE, WEIGHTS_FILE, ONNX_FILE)
"""What a card may speak of, as far as it is there."""


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of the network in a folder.

    Raises:
        RunError: if it is absent, damaged or of another format, or a file beside it is not the
            one that it was written for.
    """
    path = folder / CARD_FILE
    try:
        content = read_bytes(path)
        CARD.read(content)
        card: dict[str, Any] = json.loads(content)
        stand_in(card["certificate"].get("metric", TOP1.name))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    check_card(card, folder)
    return card


def check_card(card: Mapping[str, Any], folder: Path, files: Sequence[str] = FILES) -> None:
    """Refuse a card whose figures are another network's.

    Args:
        card: that stands in the folder.
        folder: of the network.
        files: that are compared.

    Raises:
        RunError: naming the first file that differs, and the ways on.
    """
    if foreign := differing(card, folder, files):
        way = "put it back from a copy"
        if run_of(folder) is not None and folder.name != PROTOTYPE:
            way += f", or certify what is there now: gensynth certify {shlex.quote(str(folder))}"
        raise RunError(
            f"{folder / foreign[0]} is not the file that {CARD_FILE} beside it was written for, "
            f"so none of its figures hold of it; {way}"
        )


def differing(card: Mapping[str, Any], folder: Path, files: Sequence[str] = FILES) -> list[str]:
    """Return the names of files in a folder that are not those of a card."""
    there = [name for name in files if (folder / name).is_file()]
    known = card.get("sha256")
    if known is None:
        return _not_on_record(card, folder) if WEIGHTS_FILE in there else []
    return [name for name in there if file_sha256(folder / name) != known.get(name)]


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a card in a folder speaks of, by name."""
    return {name: file_sha256(folder / name) for name in FILES if (folder / name).is_file()}


def _not_on_record(card: Mapping[str, Any], folder: Path) -> list[str]:
    run = run_of(folder)
    if run is None or not (run / LEDGER_FILE).is_file():
        return []
    certified = card.get("certificate") or {}
    weights = file_sha256(folder / WEIGHTS_FILE)
    for entry in Ledger(run / LEDGER_FILE).entries():
        if (entry["event"], entry["network"]) == ("result", weights):
            score = entry.keys() & certified.keys() - {"split"}
            if all(certified[key] == entry[key] for key in score):
                return []
    return [WEIGHTS_FILE]
