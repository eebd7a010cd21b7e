"""The generator G(s; theta): from parameters and a seed to a network's graph.

A network's worth is modelled as a sum of *gains*: each coupled group earns for the
channels it keeps, each residual block for being there, and a convolution loses by having
a substitute. A seed tilts all of these together, along learned directions. From the
prototype downward the generator gives up whatever loses least gain for the cost it saves,
until every cost requirement itself holds, and then takes back what still fits. Parameters
and MACs are exact at every step, so cost requirements hold for every seed by construction;
accuracy is the inquisitor's to predict.

The gain of group g at width k, the best k channels kept, is

    f_g(k) = exp(offset[g] + direction[g] . (exp(direction_scale) * xi)) * sum over j <= k of
                 exp(sharpness * u[g, (j)]) * (n_g / j) ^ curvature

with u the log-saliency of its channels in descending order and xi the seed's normal draw.
Its steps shrink as k grows, so f_g is concave and the greedy descent is sound. Substitute o
at site s loses exp(at_site[s, o] + everywhere[o] + the tilts of both), dense nothing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from gensynth.graph.graph import Graph
from gensynth.outside import Form, Positive
from gensynth.search.descent import Descent, Targets
from gensynth.search.gains import Gains
from gensynth.search.theta import GRID, Theta, draw, grid
from gensynth.space.points import Points
from gensynth.space.space import Space

FORMAT = 1

_Log = Annotated[float, Field(ge=-300, le=300)]
"""What is raised to a power of e, and must not overflow there."""


class Document(TypedDict):
    """A generator as JSON; what a space without sites does not have may be left out."""

    format: Literal[1]
    prototype: str
    align: Positive
    limits: dict[str, Annotated[float, Field(ge=0, le=1e30)]]
    u: dict[str, list[_Log]]
    offset: list[_Log]
    block: list[_Log]
    directions: list[list[_Log]]
    tilt: Annotated[list[Annotated[float, Field(ge=-16, le=4)]], Field(max_length=1 << 12)]
    sharpness: Annotated[float, Field(ge=0, le=8)]
    curvature: Annotated[float, Field(ge=0, le=8)]
    budget: tuple[_Log, _Log]
    budgeted: NotRequired[tuple[str, ...]]
    operators: NotRequired[tuple[str, ...]]
    operator: NotRequired[list[list[_Log]]]
    word: NotRequired[list[_Log]]


FORM: Form[Document] = Form(Document)


@dataclass(frozen=True)
class Generator:
    """A learned generator: it needs the prototype's graph, and no weights.

    Attributes:
        space: the networks it can express.
        theta: its parameters.
        limits: largest allowed cost by name, see `Space.names`; costs not named are free.
        budgeted: names of the costs that a seed's budget is the mean log of; none are the exact
            ones.
    """

    space: Space
    theta: Theta
    limits: Mapping[str, float] = field(default_factory=dict)
    budgeted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.space.check_reachable(dict(self.limits))

    def points(self, seeds: list[int] | range, theta: Theta | None = None) -> Points:
        """Return the networks of many seeds at once, as points of the space."""
        return self.points_of([theta or self.theta] * len(seeds), list(seeds))

    def points_of(self, thetas: list[Theta], seeds: list[int]) -> Points:
        """Return one network for each pair of parameters and seed."""
        gains = Gains(self.space, thetas, [draw(self.theta, s) for s in seeds])
        descent = Descent(self.space, gains, self._targets(thetas, seeds))
        return descent.run()

    def generate(self, seed: int) -> Graph:
        """Return the network N_s of one seed.

        The graph depends on the parameters and the seed alone, byte for byte.
        """
        return self.graph(self.points([seed]), 0, seed)

    def graph(self, points: Points, index: int, seed: int) -> Graph:
        """Return the graph of one of many points that came from `points`."""
        selection = self.space.selection(points, index, self.ranking(seed))
        return self.space.coupling.apply(selection)

    def ranking(self, seed: int) -> list[np.ndarray]:
        """Return each group's channels, the first to be kept first, as a seed sees them."""
        noise = draw(self.theta, seed).noise
        ends = np.cumsum([len(u) for u in self.theta.u], dtype=int)
        return [
            np.argsort(-grid(u + noise[end - len(u) : end]), kind="stable")
            for u, end in zip(self.theta.u, ends, strict=True)
        ]

    def to_json(self) -> str:
        """Return parameters and limits as text; the prototype's graph is kept beside it."""
        theta = self.theta
        names = [group.name for group in self.space.coupling.groups]
        document: dict[str, Any] = {
            "format": FORMAT,
            "prototype": self.space.coupling.graph.sha256,
            "align": self.space.round_to,
            "limits": dict(self.limits),
            "u": {n: u.tolist() for n, u in zip(names, theta.u, strict=True)},
            "offset": theta.offset.tolist(),
            "block": theta.block.tolist(),
            "directions": theta.directions.tolist(),
            "tilt": theta.direction_scale.tolist(),
            "sharpness": theta.sharpness,
            "curvature": theta.curvature,
            "budget": list(theta.budget),
        }
        if self.budgeted:
            document["budgeted"] = list(self.budgeted)
        if len(self.space.sites):
            document["operators"] = list(self.space.sites.substitutes)
            document["operator"] = theta.at_site.tolist()
            document["word"] = theta.everywhere.tolist()
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str, space: Space) -> "Generator":
        """Read a generator that `to_json` wrote for the same prototype.

        Raises:
            ValueError: if it is damaged, belongs to another prototype or to other substitutes, or
                is of another format.
            UnreachableError: if no network meets its limits.
        """
        document = FORM.read(text)
        if document["prototype"] != space.coupling.graph.sha256:
            raise ValueError("this generator was learned for another prototype")
        sites = space.sites
        if document.get("operators", ()) != sites.substitutes:
            raise ValueError("this generator was learned for other operators")
        budgeted = document.get("budgeted", ())
        unknown = sorted({*document["limits"], *budgeted} - set(space.names))
        if unknown:
            raise ValueError(f"it limits the unknown cost {unknown[0]!r:.40}")
        groups, blocks = space.coupling.groups, len(space.coupling.blocks)
        words = len(sites.substitutes)
        rows = len(groups) + blocks + len(sites) + words
        directions = _array(document, "directions", (rows, len(document["tilt"])))
        theta = Theta(
            u=tuple(
                _array(document["u"], group.name, (group.size,), "u of group ") for group in groups
            ),
            offset=_array(document, "offset", (len(groups),)),
            block=_array(document, "block", (blocks,)),
            directions=directions,
            direction_scale=np.array(document["tilt"]),
            sharpness=document["sharpness"],
            curvature=document["curvature"],
            budget=document["budget"],
            at_site=_array(document, "operator", (len(sites), words)),
            everywhere=_array(document, "word", (words,)),
        )
        return Generator(space, theta, document["limits"], budgeted)

    def _targets(self, thetas: list[Theta], seeds: list[int]) -> "Targets":
        limits = self.space.limits_of(dict(self.limits))
        shares = [
            min(0.0, t.budget[0] + t.budget[1] * draw(t, s).budget)
            for t, s in zip(thetas, seeds, strict=True)
        ]
        budgeted = self.space.named(self.budgeted)
        smallest = self.space.costs(self.space.smallest())[0]
        floor = np.log(smallest / self.space.prototype)[budgeted].mean()
        return Targets(limits, np.maximum(grid(np.array(shares)), floor + GRID), budgeted)


def _array(
    values: Mapping[str, Any], name: str, shape: tuple[int, ...], what: str = ""
) -> np.ndarray:
    """Return an entry of a document as an array of the shape that a space gives it."""
    try:
        found = np.array(values.get(name, ()), dtype=float)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"{what}{name:.40} must be of the shape {shape}, got rows of other lengths"
        ) from error
    if not found.size and not math.prod(shape):
        return found.reshape(shape)
    if found.shape != shape:
        raise ValueError(f"{what}{name:.40} must be of the shape {shape}, got {found.shape}")
    return found
