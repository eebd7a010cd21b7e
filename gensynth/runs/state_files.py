"""A synthesis's state as files, and back: what a run folder keeps after every cycle.

    generator.json        G_k with theta_G, and the limits it obeys
    inquisitor.json       theta_I, the penalty mu, and theta_G,0 from which drift is penalised
    weights.safetensors   W

A run always goes on from what it read back, not from what it had in memory, so that going
on after a kill cannot differ from never having stopped.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from safetensors.torch import load, save
from typing_extensions import TypedDict

from gensynth.graph.files import WEIGHTS_FILE
from gensynth.outside import Form
from gensynth.run_files import GENERATOR_FILE, INQUISITOR_FILE
from gensynth.search.cycle import State
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.space.space import Space


class Learned(TypedDict):
    """inquisitor.json: what is in it is held against the forms of who reads it."""

    inquisitor: dict[str, Any]
    price: Annotated[float, Field(ge=0)]
    anchor: dict[str, Any]


LEARNED: Form[Learned] = Form(Learned)


def dump(state: State) -> dict[str, bytes]:
    """Return the files of a state by name; the same state gives the same bytes."""
    generator = state.generator
    anchor = Generator(generator.space, state.anchor, generator.limits)
    learned = {
        "inquisitor": state.inquisitor.to_document(),
        "price": state.penalty,
        "anchor": json.loads(anchor.to_json()),
    }
    return {
        GENERATOR_FILE: generator.to_json().encode(),
        INQUISITOR_FILE: (json.dumps(learned, sort_keys=True) + "\n").encode(),
        WEIGHTS_FILE: save({key: t.contiguous() for key, t in state.weights.items()}),
    }


def restore(cycle: int, files: dict[str, bytes], space: Space) -> State:
    """Return the state that `dump` wrote.

    Args:
        cycle: how many cycles it has seen.
        files: by name.
        space: of the same prototype.

    Raises:
        ValueError: if it is damaged, or belongs to another prototype.
    """
    learned = LEARNED.read(files[INQUISITOR_FILE])
    return State(
        cycle=cycle,
        generator=Generator.from_json(files[GENERATOR_FILE].decode(), space),
        inquisitor=Inquisitor.from_document(learned["inquisitor"], space),
        weights=load(files[WEIGHTS_FILE]),
        penalty=learned["price"],
        anchor=Generator.from_json(json.dumps(learned["anchor"]), space).theta,
    )


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a state that a run folder keeps."""
    names = (GENERATOR_FILE, INQUISITOR_FILE, WEIGHTS_FILE)
    return {name: (folder / name).read_bytes() for name in names}
