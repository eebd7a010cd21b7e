"""The calls a module makes on an example: torch.fx nodes, and the value of each.

fx alone refuses Python that depends on shapes (`if x.shape[2] > 7`, a loop over
`torch.chunk`). Here every call is also computed at once, so shapes are plain numbers and
tuples are plain tuples; only what depends on the input's values is refused.
"""

import operator
import sys
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, fx, nn

from gensynth.errors import PrototypeError
from gensynth.network.outputs import by_name
from gensynth.suggestion import did_you_mean
from gensynth.trace.meaning import Unreadable

MADE = "made."
"""Before the names of layers that are made in forward, and so have none."""

_MACHINERY = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
_STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]

_SHAPE_ANSWERS = frozenset(
    """size dim ndimension numel nelement stride is_contiguous is_floating_point is_complex
    get_device type element_size getattr is_tensor""".split()
)
"""Calls on a tensor whose plain Python answer does not depend on its values."""

_DATA_DEPENDENT = (
    "what this line does depends on the values of the input, so there is no one graph to read; "
    "move the decision out of forward"
)


@dataclass(frozen=True)
class Calls:
    """What a module does with its input.

    Attributes:
        nodes: the calls, in order.
        values: what each gave for the example.
        lines: "file:line" of the user's code that made it.
        scopes: paths of the modules it was made in, outermost first; a layer's own path is
            the last of its own call.
    """

    nodes: tuple[fx.Node, ...]
    values: dict[fx.Node, Any]
    lines: dict[fx.Node, str]
    scopes: dict[fx.Node, tuple[str, ...]]


class _Enough(Exception):
    """All that is wanted of a module has been called."""


def capture(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    *,
    whole: frozenset[str] = frozenset(),
    outputs: tuple[str, ...] = (),
) -> Calls:
    """Return the calls that `module` makes.

    Args:
        module: in evaluation mode; it is computed on, so give a copy.
        examples: one for each argument of its `forward` that has no default.
        whole: paths of modules that are called and not followed.
        outputs: paths of modules whose first answers are returned, in this order, in place of what
            `module` returns; what comes after them is not looked at. A name that is no module's
            is a key, or a place, of what `module` returns.

    Raises:
        Unreadable: if what a module does depends on its input's values, or cannot be
            followed for another reason.
        PrototypeError: if the examples do not fit the module.
    """
    tracer = _Tracer(examples, whole, outputs)
    try:
        with torch.no_grad():
            graph = tracer.trace(module)
    except _Enough:
        graph = tracer.graph
        found = tracer.create_arg(tuple(tracer.answers[path] for path in outputs))
        tracer.create_node("output", "output", (found,), {})
    except (PrototypeError, Unreadable):
        raise
    except fx.proxy.TraceError as error:
        line = _line_of(error.__traceback__)
        raise Unreadable(tracer.failed_in, f"{line}: {_DATA_DEPENDENT}") from error
    # A user's code may raise anything.
    except Exception as error:
        raise Unreadable(
            tracer.failed_in,
            f"{_line_of(error.__traceback__)}: cannot be followed: {type(error).__name__}: {error}",
        ) from error
    if outputs:
        _keep(outputs, next(node for node in graph.nodes if node.op == "output"), tracer, module)
    if tracer.examples:
        raise PrototypeError(
            f"the network takes {len(examples) - len(tracer.examples)} inputs, "
            f"the example has {len(examples)}"
        )
    return Calls(tuple(graph.nodes), tracer.values, tracer.lines, tracer.scopes)


def _keep(
    outputs: tuple[str, ...], returned: fx.Node, tracer: "_Tracer", module: nn.Module
) -> None:
    """Let a module return what is asked for and nothing else."""
    known = by_name(returned.args[0])
    if tracer.answers.keys() < set(outputs):
        found = known | {path: tracer.create_arg(x) for path, x in tracer.answers.items()}
        missing = [name for name in outputs if name not in found]
        if missing:
            names = [path for path, _ in module.named_modules() if path] + list(known)
            raise PrototypeError(
                "outputs in [prototype] must be parts that the network calls, or keys of what it "
                f"returns, got '{missing[0]}'; {did_you_mean(missing[0], names)}"
            )
        returned.args = (tuple(found[name] for name in outputs),)


class _Proxy(fx.Proxy):
    """fx's stand-in for a tensor; this one knows the tensor's shape."""

    def __init__(self, node: fx.Node, tracer: "_Tracer", value: Tensor) -> None:
        super().__init__(node, tracer)
        self.shape = value.shape
        self.ndim = value.ndim
        self.dtype = value.dtype
        self.device = value.device

    def __len__(self) -> int:
        return int(self.shape[0])

    # fx would take `x += y` for `x = x + y`, and lose that other holders of x see it.
    def __iadd__(self, other: Any) -> Any:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(operator.itruediv, other)

    def _in_place(self, function: Callable[..., Any], other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


class _Tracer(fx.Tracer):
    """fx's tracer, which computes each call as it records it."""

    def __init__(
        self, examples: tuple[Tensor, ...], whole: frozenset[str], outputs: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.values: dict[fx.Node, Any] = {}
        self.lines: dict[fx.Node, str] = {}
        self.scopes: dict[fx.Node, tuple[str, ...]] = {}
        self.examples = list(examples)
        self.failed_in = ""
        self.answers: dict[str, Any] = {}
        self._wanted = outputs
        self._whole = whole
        self._computing = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self._whole:
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def path_of_module(self, mod: nn.Module) -> str:
        """Return a module's path; one that is made in forward has that of the code which does."""
        try:
            return super().path_of_module(mod)
        except NameError:
            here = self.scope.module_path
            if not super().is_leaf_module(mod, here) or isinstance(mod, nn.Sequential):
                return here
            if any(True for _ in mod.parameters()):
                raise Unreadable(
                    here,
                    f"{_line_above(sys._getframe(1))}: makes a {type(mod).__name__} with weights "
                    "each time; make it in __init__, or keep it in an nn.ModuleList",
                ) from None
            made = self.root._modules.setdefault(MADE.rstrip("."), nn.Module())
            assert made is not None
            name = type(mod).__name__
            number = sum(key.startswith(name) for key in made._modules)
            made._modules[f"{name}{number or ''}"] = mod
            self.submodule_paths = {m: path for path, m in self.root.named_modules()}
            return super().path_of_module(mod)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if self._computing:
            return forward(*args, **kwargs)
        try:
            answer = super().call_module(m, forward, args, kwargs)
            path = self.path_of_module(m)
            if path in self._wanted:
                if path not in self.answers:
                    self.answers[path] = _kept(answer)
                if len(self.answers) == len(set(self._wanted)):
                    raise _Enough
            return answer
        except _Enough:
            raise
        except Exception:
            # The innermost module sees the exception first.
            self.failed_in = self.failed_in or self.path_of_module(m)
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._computing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(  # type: ignore[override]
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any = None,
    ) -> Any:
        """Record a call and compute it; only tensors stay stand-ins."""
        if kind == "placeholder":
            if str(target).startswith("*"):
                return self._variable_inputs(str(target))
            if not self.examples:
                return _default(str(target), args)
        given: Any = self.create_arg(args)
        options: Any = self.create_arg(kwargs)
        node = self.create_node(kind, target, given, options, name, type_expr)
        if kind == "output":
            return fx.Proxy(node, self)
        scopes = node.meta.get("nn_module_stack", {})
        self.scopes[node] = tuple(path for path, _ in scopes.values())
        self.lines[node] = _line_above(sys._getframe(1))
        self.values[node] = value = self._compute(node)
        if isinstance(value, Tensor):
            return _Proxy(node, self, value)
        if isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value):
            whole = fx.Proxy(node, self)
            return tuple(
                self.create_proxy("call_function", operator.getitem, (whole, index), {})
                for index in range(len(value))
            )
        return value

    def _variable_inputs(self, target: str) -> Any:
        if target.startswith("**"):
            return {}
        name = target.lstrip("*")
        return tuple(
            self.create_proxy("placeholder", f"{name}_{index}", (), {})
            for index in range(len(self.examples))
        )

    def _compute(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.examples.pop(0)
        if node.op == "get_attr":
            return self._attribute(node)
        args, kwargs = self._given((node.args, node.kwargs))
        self._computing = True
        try:
            value = _perform(self.root, node, args, kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            where = self.scopes[node][-1:] or (str(node.name),)
            shapes = [tuple(a.shape) for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            raise PrototypeError(
                f"{self.lines[node]}: the example does not fit the network at {where[0]!r}, "
                f"which reads {shapes} (batch first): {error}"
            ) from error
        finally:
            self._computing = False
        name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
        if isinstance(value, (bool, int, float)) and name not in _SHAPE_ANSWERS:
            raise Unreadable(
                self.scopes[node][-1] if self.scopes[node] else "",
                f"{self.lines[node]}: {_DATA_DEPENDENT}",
            )
        return value

    def _given(self, argument: Any) -> Any:
        """Return what a call is given: lists are its own, for code may write into them."""
        if isinstance(argument, list):
            return [self._given(one) for one in argument]
        if isinstance(argument, tuple) and not hasattr(argument, "_fields"):
            return tuple(self._given(one) for one in argument)
        if isinstance(argument, dict):
            return {key: self._given(one) for key, one in argument.items()}
        return fx.node.map_aggregate(argument, self._value)

    def _value(self, argument: Any) -> Any:
        if not isinstance(argument, fx.Node):
            return argument
        if argument not in self.values:  # fx's own get_attr, for a constant
            self.values[argument] = self._attribute(argument)
        return self.values[argument]

    def _attribute(self, node: fx.Node) -> Any:
        self._computing = True  # fx would stand a proxy in the attribute's place
        try:
            return attribute(self.root, str(node.target))
        finally:
            self._computing = False


def _kept(answer: Any) -> Any:
    """Return an answer as it is now, whatever is written into it later."""
    if isinstance(answer, tuple | list):
        return type(answer)([_kept(one) for one in answer])
    return answer.clone() if isinstance(answer, _Proxy) else answer


def _perform(root: nn.Module, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Compute one call."""
    if node.op == "call_module":
        return root.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def attribute(root: nn.Module, path: str) -> Any:
    """Return what stands at a dotted path in a module."""
    found: Any = root
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _default(name: str, default: tuple[Any, ...]) -> Any:
    if not default:
        raise PrototypeError(f"the network takes an input {name!r} that the example does not have")
    return default[0]


def _line_above(frame: FrameType | None) -> str:
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown line"


def _line_of(trace: TracebackType | None) -> str:
    frames = [frame for frame in traceback.extract_tb(trace) if _is_users(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown line"


def _is_users(file: str) -> bool:
    library = file.startswith(_STANDARD_LIBRARY) and "-packages" not in file
    return not library and not file.startswith(_MACHINERY)
