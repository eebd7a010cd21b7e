"""What can be changed in a network, and what stays and why, as text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensynth.errors import ConfigError
from gensynth.render.figures import columns, count, step_of_widths, wrapped
from gensynth.space.resolution import RESOLUTIONS

if TYPE_CHECKING:
    from gensynth.graph.graph import Vertex
    from gensynth.space.blocks import Block
    from gensynth.space.inspection import Inspection
    from gensynth.space.width_step import WidthStep

FROZEN = "frozen"

_HEAD = ["name", "operator", "channels", "output", "params", "MACs"]


def inspection(inspection: "Inspection", step: "WidthStep", width: int = 80) -> str:
    """Return a network's vertices, groups, blocks, operators and frozen parts, and a summary.

    A vertex's channels are those of its output: the groups they belong to, or "frozen".
    """
    parts = [
        _section("vertices", [_HEAD, *(_vertex(inspection, v) for v in inspection.graph.vertices)]),
        _section("groups, whose channels go together", _groups(inspection)),
        _section("blocks that can go whole", [_block(inspection, b) for b in inspection.blocks]),
        _section("substitutes, and what they may stand for", _substitutes(inspection)),
        _frozen(inspection, width),
        _summary(inspection, step, width),
    ]
    return "\n\n".join(parts)


def read_shapes(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the shapes of some inputs.

    Raises:
        ConfigError: if one is no list of whole numbers from 1 up.

    Example:
        >>> read_shapes(["3,32,32", "1, 16, 16"])
        [(3, 32, 32), (1, 16, 16)]
    """
    return [_shape(text) for text in texts]


def _vertex(inspection: "Inspection", vertex: "Vertex") -> list[str]:
    cost = inspection.costs[vertex.name]
    groups = inspection.written[vertex.name]
    held = f"{len(groups)} groups" if len(groups) > 1 else (groups or (FROZEN,))[0]
    return [
        vertex.name,
        vertex.op,
        held,
        "x".join(map(str, vertex.shape)),
        count(cost.params) if cost.params else "",
        count(cost.macs) if cost.macs else "",
    ]


def _groups(inspection: "Inspection") -> list[list[str]]:
    homes = {group.name: 0 for group in inspection.groups}
    for names in inspection.written.values():
        for name in names:
            homes[name] += 1
    return [
        [
            group.name,
            _plural(group.size, "channel"),
            f"in {_plural(homes[group.name], 'vertex', 'vertices')}",
        ]
        for group in inspection.groups
    ]


def _block(inspection: "Inspection", block: "Block") -> list[str]:
    macs = sum(inspection.costs[name].macs for name in block.vertices)
    return [
        block.name,
        _plural(len(block.vertices), "vertex", "vertices"),
        f"{count(macs)} MACs",
    ]


def _substitutes(inspection: "Inspection") -> list[list[str]]:
    rows = []
    for substitute, names in inspection.substitutes.items():
        macs = sum(inspection.costs[name].macs for name in names)
        if substitute in RESOLUTIONS and names:
            rows.append([substitute, *names, f"of {count(inspection.cost.macs)} MACs"])
        elif names:
            rows.append([substitute, _plural(len(names), "convolution"), f"of {count(macs)} MACs"])
    return rows


def _frozen(inspection: "Inspection", width: int) -> str:
    lines = [
        f"{part.vertex}: {_plural(len(part.channels), 'channel')}: {'; '.join(part.reasons)}"
        for part in inspection.frozen
    ]
    lines += [
        f"{vertex.name} itself: {vertex.attributes['reason']}" for vertex in inspection.opaque
    ]
    return "\n".join([FROZEN, *(wrapped(line, width) for line in lines)])


def _summary(inspection: "Inspection", step: "WidthStep", width: int) -> str:
    cost, graph = inspection.cost, inspection.graph
    shapes = " and ".join("x".join(map(str, vertex.shape)) for vertex in graph.inputs)
    vertices = _plural(len(graph.vertices), "vertex", "vertices")
    groups = _plural(len(inspection.groups), "group")
    channels = _plural(sum(group.size for group in inspection.groups), "channel")
    blocks = _plural(len(inspection.blocks), "block")
    share = f"{100 * inspection.changeable_macs_share:.1f} %"
    least = inspection.smallest(step.channels)
    params, macs = _of(least.params, cost.params), _of(least.macs, cost.macs)
    lines = [
        f"{graph.name} on {shapes}: {vertices}, {cost.params:,} parameters, {cost.macs:,} MACs",
        f"{groups} of {channels} in all, {blocks} that can go whole",
        step_of_widths(step),
        f"{share} of the MACs are in vertices that can be changed",
        f"widths and blocks reach down to {params} parameters and {macs} MACs",
    ]
    return "\n".join(wrapped(line, width) for line in lines)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace(" ", "").split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"a shape is channels, height and width of one input such as 3,32,32, got '{text}'"
        )
    return tuple(int(part) for part in parts)


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else f"{part:,}"


def _section(title: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([title, *(columns(rows, left=3) if rows else ["none"])])


def _plural(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
