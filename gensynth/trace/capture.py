"""The calls a module makes on its input, as torch.fx sees them, with the user's lines."""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError as FxTraceError

from gensynth.errors import TraceError

_OURS = Path(__file__).parent
_TORCH = Path(torch.__file__).parent


class _Tracer(fx.Tracer):
    """fx, with every layer of torch a leaf and the user's lines on record."""

    def __init__(self, opaque: frozenset[str]) -> None:
        super().__init__()
        self._opaque = opaque
        self.record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self._opaque:
            return True
        return super().is_leaf_module(m, module_qualified_name)


def capture(module: nn.Module, *, opaque: frozenset[str] = frozenset()) -> fx.Graph:
    """Return the calls that `module` makes.

    Args:
        module: in evaluation mode.
        opaque: paths of modules that are called whole.

    Raises:
        TraceError: if what the module does depends on its input's values, or cannot be
            followed for another reason.
    """
    try:
        return _Tracer(opaque).trace(module)
    except FxTraceError as error:
        raise TraceError(
            f"{_user_line(error.__traceback__, module)}: this line depends on the values of "
            f"its input, so there is no one graph to read ({error})"
        ) from error
    except Exception as error:
        raise TraceError(
            f"{_user_line(error.__traceback__, module)}: cannot be read as a graph: "
            f"{type(error).__name__}: {error}"
        ) from error


def line_of(node: fx.Node) -> str:
    """Return "file:line" of the user's code that made a call."""
    frames = [line for line in (node.stack_trace or "").splitlines() if 'File "' in line]
    for frame in reversed(frames):
        file = frame.split('"')[1]
        if not _is_machinery(file):
            return f"{file}:{frame.split('line ')[1].split(',')[0]}"
    return "unknown line"


def module_path(node: fx.Node) -> str:
    """Return the path of the innermost module whose code made a call."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    paths: list[str] = [path for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _user_line(trace: TracebackType | None, module: nn.Module) -> str:
    frames = [f for f in traceback.extract_tb(trace) if not _is_machinery(f.filename)]
    if frames:
        return f"{frames[-1].filename}:{frames[-1].lineno}"
    return type(module).__name__


def _is_machinery(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(_TORCH) or path.is_relative_to(_OURS) or file.startswith("<")
