"""What a run's documents must say: the forms of result.json, inputs.json and the like.

Whoever reads one, years later or another's, holds it against its form first. A card's is in
`gensynth.goals.card_form`.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from gensynth.outside import FileName, Form, Natural, Share


class ResultDocument(TypedDict):
    """result.json."""

    finalists: Annotated[list[FileName], Field(min_length=1)]
    requirements: list[str]
    pictures: NotRequired[list[FileName]]
    seconds: dict[str, Annotated[float, Field(ge=0, le=1e12)]]


class Data(TypedDict):
    """The data of a run's beginning."""

    search_sha256: str
    test_sha256: str


class Inputs(TypedDict):
    """inputs.json; the prototype and the data come once they are there."""

    config: NotRequired[dict[str, Any]]
    data: NotRequired[Data]
    weights_sha256: NotRequired[str]
    prototype: NotRequired[dict[str, Any]]
    score: NotRequired[dict[str, Annotated[float, Field(ge=0, le=100)]]]
    judged: NotRequired[Natural]


RESULT: Form[ResultDocument] = Form(ResultDocument)


Seconds = Annotated[float, Field(ge=0, le=1e12)]


class Attempt(TypedDict):
    """attempt.json, of a network that was distilled fully, beside the score that it is of."""

    seed: Natural
    generator_sha256: str
    graph_sha256: NotRequired[str]
    weights_sha256: NotRequired[str | None]
    widths: list[Natural]
    bits: list[bool]
    operators: NotRequired[list[Natural]]
    predicted: Annotated[list[Share], Field(min_length=3, max_length=3)]
    seconds: dict[str, Seconds]


class Search(TypedDict):
    """search.json, of a generated network that was distilled, beside its score."""

    weights_sha256: NotRequired[str | None]


ATTEMPT: Form[Attempt] = Form(Attempt)
SEARCH: Form[Search] = Form(Search)


class Environment(TypedDict):
    """environment.json."""

    command: str | None


ENVIRONMENT: Form[Environment] = Form(Environment)
INPUTS: Form[Inputs] = Form(Inputs)
PHASES: Form[dict[str, float]] = Form(dict[str, Annotated[float, Field(ge=0, le=1e12)]])
