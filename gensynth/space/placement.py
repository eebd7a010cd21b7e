"""Where `substitutes` may stand, and the graph that has them."""

from collections.abc import Mapping

from gensynth.errors import ConfigError
from gensynth.graph.graph import Graph, Vertex
from gensynth.space.resolution import RESOLUTIONS, image_input, resized
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.suggestion import did_you_mean

CHOICES = (*SUBSTITUTES, *RESOLUTIONS)
"""All that a run may allow: substitutes of convolutions, and resolutions of the input."""


def check_substitutes(names: tuple[str, ...]) -> None:
    """Refuse names of a run file that no substitute has.

    Raises:
        ConfigError: with the nearest that there is.
    """
    for name in names:
        if name not in CHOICES:
            near = did_you_mean(name, CHOICES)
            raise ConfigError(f"unknown substitute '{name}' in [search]; {near}")


def sites(graph: Graph) -> tuple[Vertex, ...]:
    """Return the convolutions for which a substitute may stand.

    They are dense, wider than 1 x 1, called once, and leave their parts' names free.
    """
    calls: dict[str, int] = {}
    for vertex in graph.vertices:
        for tensor in vertex.tensors:
            calls[vertex.tensor_key(tensor)] = calls.get(vertex.tensor_key(tensor), 0) + 1
    return tuple(
        vertex
        for vertex in graph.vertices
        if vertex.op == "conv"
        and vertex.attributes["groups"] == 1
        and max(vertex.tensors["weight"][2:]) > 1
        and all(calls[vertex.tensor_key(tensor)] == 1 for tensor in vertex.tensors)
        and not _names_taken(graph, vertex)
    )


def refusal(graph: Graph, conv: Vertex, name: str) -> str | None:
    """Return why a substitute may not stand for one of a prototype's `sites`, or None.

    A substitute that is not cheaper at the prototype's own widths is refused too.
    """
    substitute, source = SUBSTITUTES[name], graph[conv.inputs[0]]
    why = substitute.refusal(conv, source)
    if why is not None:
        return why
    kernel, read, written = conv.attributes["kernel"], source.shape[0], conv.shape[0]
    if substitute.weights(kernel, read, written) >= kernel[0] * kernel[1] * read * written:
        return "it would not be cheaper"
    return None


def substitute(graph: Graph, substitutes: Mapping[str, str]) -> Graph:
    """Return a graph in which substitutes stand for some convolutions.

    Args:
        graph: a network's, all its convolutions dense.
        substitutes: by the convolution's name, and a resolution by the input's; `graph` keeps
            everything else, its selection too.

    Raises:
        ValueError: if a name is none of the graph's `sites` or its input, if the substitute is
            not known, or if the network cannot have the resolution.
    """
    if not substitutes:
        return graph
    image = image_input(graph)
    possible = {vertex.name for vertex in sites(graph)}
    resolution = None
    for site, name in substitutes.items():
        if name not in CHOICES:
            raise ValueError(f"no substitute is named {name!r}")
        if image is not None and site == image.name and name in RESOLUTIONS:
            resolution = name
        elif site not in possible or name in RESOLUTIONS:
            raise ValueError(f"no convolution named {site!r} can be substituted by {name}")
    vertices: list[Vertex] = []
    for vertex in graph.vertices:
        if vertex.name in substitutes and vertex.op != "input":
            source = graph[vertex.inputs[0]]
            vertices.extend(SUBSTITUTES[substitutes[vertex.name]].chain(vertex, source))
        else:
            vertices.append(vertex)
    changed = Graph(graph.name, tuple(vertices), graph.outputs, graph.selection)
    return changed if resolution is None else resized(changed, resolution)


def _names_taken(graph: Graph, conv: Vertex) -> bool:
    own = {conv.tensor_key(tensor) for tensor in conv.tensors}
    inside = f"{conv.name}."
    return any(vertex.name.startswith(inside) for vertex in graph.vertices) or any(
        key.startswith(inside) and key not in own for key in graph.tensor_shapes
    )
