"""What a run's documents must say: the forms of result.json, inputs.json and the like.

Whoever reads one, years later or another's, holds it against its form first. A card's is in
`gensynth.goals.card_form`.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.outside import FileName, Form


class ResultDocument(TypedDict):
    """result.json."""

    finalists: Annotated[list[FileName], Field(min_length=1)]
    requirements: list[str]
    pictures: NotRequired[list[FileName]]
    seconds: dict[str, Annotated[float, Field(ge=0, le=1e12)]]


class Data(TypedDict):
    """The data of a run's beginning."""

    search_sha256: str


class Inputs(TypedDict):
    """inputs.json; the prototype and the data come once they are there."""

    config: NotRequired[dict[str, Any]]
    data: NotRequired[Data]
    weights_sha256: NotRequired[str]
    prototype: NotRequired[dict[str, Any]]


RESULT: Form[ResultDocument] = Form(ResultDocument)


class Environment(TypedDict):
    """environment.json."""

    command: str | None


ENVIRONMENT: Form[Environment] = Form(Environment)
INPUTS: Form[Inputs] = Form(Inputs)
PHASES: Form[dict[str, float]] = Form(dict[str, Annotated[float, Field(ge=0, le=1e12)]])
