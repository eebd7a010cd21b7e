"""A synthesis's state as files, and back: what a run folder keeps after every cycle.

    generator.json        G_k with theta_G, and the limits it obeys
    inquisitor.json       theta_I, the penalty mu, and theta_G,0 from which drift is penalised
    weights.safetensors   W

A run always goes on from what it read back, not from what it had in memory, so that going
on after a kill cannot differ from never having stopped.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from typing_extensions import TypedDict

from gensynth.errors import RunError
from gensynth.graph.files import WEIGHTS_FILE
from gensynth.outside import WEIGHTS_BYTES, Form, read_bytes
from gensynth.run_files import GENERATOR_FILE, INQUISITOR_FILE
from gensynth.search.cycle import State
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import Inquisitor
from gensynth.space.prototype import Prototype
from gensynth.space.space import Space

FILES = (GENERATOR_FILE, INQUISITOR_FILE, WEIGHTS_FILE)


class Learned(TypedDict):
    """inquisitor.json: what is in it is held against the forms of who reads it."""

    inquisitor: dict[str, Any]
    price: Annotated[float, Field(ge=0)]
    anchor: dict[str, Any]


LEARNED: Form[Learned] = Form(Learned)


def dump(state: State) -> dict[str, bytes]:
    """Return the files of a state by name; the same state gives the same bytes."""
    generator = state.generator
    anchor = replace(generator, theta=state.anchor)
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


def read(cycle: int, folder: Path, prototype: Prototype, space: Space) -> State:
    """Return a state that a run folder keeps.

    Raises:
        RunError: if it is damaged, or belongs to another prototype.
    """
    try:
        files = {name: read_bytes(folder / name, WEIGHTS_BYTES) for name in FILES}
        state = restore(cycle, files, space)
        if _shapes(state.weights) != _shapes(prototype.weights):
            raise ValueError("its weights are another prototype's")
    except OSError as error:
        raise RunError(f"the state in {folder} cannot be read: {error.strerror}") from error
    except (ValueError, SafetensorError) as error:
        raise RunError(f"the state in {folder} is damaged: {error}; remove it to go on") from error
    return state


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in weights.items()}
