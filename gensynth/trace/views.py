"""Views under way: which line of the user's made them, and which of these no operator says."""

from typing import Any

from gensynth.trace.arguments import collect
from gensynth.trace.channels_last import layout_of
from gensynth.trace.layout import words
from gensynth.trace.meaning import Meaning, Move, Traced, Unsaid


def note(views: list[Traced], line: str, scope: str) -> None:
    """Keep with views which line moved their elements, and in which module's code it stands."""
    for view in views:
        assert view.places is not None
        view.moves += (Move(line, scope, view.places),)


def made(meaning: Meaning | Traced, given: Any) -> list[Traced]:
    """Return the views that a reading of a call made of what it was given."""
    known = {id(x) for x in collect(given, Traced)}
    read = [meaning] if isinstance(meaning, Traced) else collect(meaning.inputs, Traced)
    return [x for x in read if x.places is not None and id(x) not in known]


def refusal(view: Traced) -> Unsaid:
    """Return why a view cannot be read: the first move from which on no operator says it."""
    blamed = _first_unsaid(view)
    shown = view.value if blamed is None else blamed.places
    return Unsaid(
        f"a view of {view.vertex!r} that is no flattening, slice or shuffle of channels and "
        f"no choice of rows and columns: {view.source[1:]} -> {tuple(shown.shape[1:])}",
        blamed,
    )


def _first_unsaid(view: Traced) -> Move | None:
    for number in range(len(view.moves) - 1, 0, -1):
        places = view.moves[number - 1].places
        before = Traced(view.value, view.vertex, places, view.source)
        if words(view.source, places) is not None or layout_of(before) is not None:
            return view.moves[number]
    return view.moves[0] if view.moves else None
