"""A factory of the user's, called with the words it takes for classes and channels.

    a parameter of its signature      taken by its name
    **kwargs                          a word is tried, and kept if tensors then have other shapes:
                                      one that is swallowed says nothing

Whatever else a factory needs is said by `arguments` in [prototype].
"""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gensynth.errors import PrototypeError
from gensynth.suggestion import did_you_mean

CLASSES = ("num_classes", "classes", "n_classes")
CHANNELS = ("in_chans", "in_channels", "channels")
"""What factories call them; the first that is taken is used."""

Arguments = Mapping[str, Any]

_UNANSWERED = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, OSError)


@dataclass(frozen=True)
class Made:
    """A network, and how it was asked for.

    Attributes:
        network: untrained.
        call: such as "build(num_classes=3)"; empty for a module that was there already.
        says_classes: whether a word for the number of classes was taken.
    """

    network: nn.Module
    call: str = ""
    says_classes: bool = False

    def way_out(self, classes: int) -> str:
        """Return what was tried, and what to do about another number of classes."""
        if not self.call:
            return "it is a module that is there already; name a factory that takes num_classes"
        made = f"it was made by {self.call}"
        if not self.says_classes:
            made += f", which takes none of {', '.join(CLASSES)}: let it take one of them"
        return (
            f"{made}; or say what makes it give {classes} by arguments in [prototype], such as "
            f"arguments = {{num_classes = {classes}}}"
        )


def call(
    factory: Callable[..., Any], name: str, *, classes: int, channels: int, arguments: Arguments
) -> Made:
    """Call a factory with its arguments, and with classes and channels where it takes them.

    Raises:
        PrototypeError: if an argument is unknown or lacking, or the factory fails.
    """
    named, is_open = _parameters(factory)
    chosen = dict(arguments)
    pending: list[tuple[list[str], int]] = []
    for known, value in ((CLASSES, classes), (CHANNELS, channels)):
        if any(word in arguments for word in known):
            continue
        taken = next((word for word in known if word in named), None)
        if taken is not None:
            chosen[taken] = value
        elif is_open:
            pending.append((list(known), value))
    _check(name, named, chosen, is_open=is_open)
    title = getattr(factory, "__name__", name.rpartition(":")[2])
    while True:
        trial = {words[0]: value for words, value in pending if words}
        try:
            network = factory(**chosen, **trial)
        except Exception as error:  # a user's code may raise anything
            if not _is_about(error, pending):
                raise PrototypeError(
                    f"prototype '{name}': {_shown(title, {**chosen, **trial})} raises "
                    f"{type(error).__name__}: {_line(error)}"
                ) from error
            continue
        swallowed = [word for word in trial if not _matters(factory, {**chosen, **trial}, word)]
        for words, _ in pending:
            if words and words[0] in swallowed:
                words.pop(0)
        if not swallowed:
            said = {**chosen, **trial}
            return Made(network, _shown(title, said), any(word in said for word in CLASSES))


def names(factory: Callable[..., Any]) -> frozenset[str]:
    """Return the words that a factory's signature has."""
    return frozenset(_parameters(factory)[0])


def _parameters(factory: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return what can be given by name, and whether any name is taken."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # written in C
        return {}, True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    is_open = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return {p.name: p for p in parameters if p.kind in by_name}, is_open


def _check(
    name: str, named: Mapping[str, inspect.Parameter], chosen: Arguments, *, is_open: bool
) -> None:
    unknown = [word for word in chosen if word not in named and not is_open]
    if unknown:
        known = did_you_mean(unknown[0], named) if named else "it takes none"
        raise PrototypeError(f"prototype '{name}' takes no argument '{unknown[0]}'; {known}")
    lacking = [
        word for word, p in named.items() if p.default is inspect.Parameter.empty
        and word not in chosen
    ]  # fmt: skip
    if lacking:
        raise PrototypeError(
            f"prototype '{name}' needs the argument '{lacking[0]}'; give it by arguments = "
            f"{{{lacking[0]} = ...}} in [prototype], or by --argument {lacking[0]}=..."
        )


def _is_about(error: Exception, pending: list[tuple[list[str], int]]) -> bool:
    """Return whether a word was refused, or another asked for; `pending` is then without it."""
    for words, _ in pending:
        if isinstance(error, TypeError) and words and f"'{words[0]}'" in str(error):
            words.pop(0)
            return True
        if isinstance(error, KeyError) and error.args and error.args[0] in words[1:]:
            words.remove(error.args[0])
            words.insert(0, error.args[0])
            return True
    return False


def _matters(factory: Callable[..., Any], given: Arguments, word: str) -> bool:
    """Return whether tensors have other shapes where a word has another value."""
    shapes = []
    for value in (given[word], given[word] + 1):
        try:
            with torch.device("meta"):
                network = factory(**{**given, word: value})
            shapes.append([tuple(tensor.shape) for tensor in network.state_dict().values()])
        except _UNANSWERED:  # what cannot be made without numbers is taken at its word
            return True
    return shapes[0] != shapes[1]


def _shown(title: str, arguments: Arguments) -> str:
    return f"{title}({', '.join(f'{word}={value!r:.40}' for word, value in arguments.items())})"


def _line(error: Exception) -> str:
    """Return an exception's message as one line, and where it was raised."""
    text = (str(error).strip() or "no message").splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text
