"""TensorRT's Python module in any recorded version, on a machine without TensorRT.

It has what `tests/fakes/tensorrt_contracts.py` records of a version and nothing else: another name
is an AttributeError and another argument a TypeError, as pybind11 raises them. What it has does
what `tests/fakes/simulated_tensorrt.py` and `tests/fakes/simulated_engine.py` say.
"""

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes.simulated_engine import ENGINE_BEHAVIOURS
from tests.fakes.simulated_tensorrt import BEHAVIOURS, Kit, Machine
from tests.fakes.tensorrt_contracts import Class, classes, enumerations


def fake_tensorrt(version: str, machine: Machine) -> types.ModuleType:
    """Return the module `tensorrt` of a recorded version."""
    module = types.ModuleType("tensorrt")
    named: dict[str, Any] = {"__version__": version}
    for name, members in enumerations(version).items():
        has_name = not version.startswith(("8.0", "8.2"))  # pybind11 below 2.3
        named[name] = _enumeration(name, members, has_name)
    recorded = classes(version)
    kit = Kit(version, machine, named, {})
    for name, contract in recorded.items():
        made = _strict(name, contract, {**BEHAVIOURS, **ENGINE_BEHAVIOURS}[name], kit)
        kit.kinds[name] = made
        if contract.constructor is not None or name == "EngineInspector":
            named[name] = made
    severity = named.pop("Severity")
    named["ILogger"].Severity = severity
    for member in severity.members:
        setattr(named["ILogger"], member, getattr(severity, member))
    module.__dict__.update(named)
    return module


def _enumeration(kind: str, members: list[str], has_name: bool) -> type:
    def spelled(self: Any) -> str:
        return self._spelled if kind == "ErrorCode" else f"{kind}.{self._spelled}"

    body: dict[str, Any] = {
        "__slots__": ("_spelled", "_value"),
        "__int__": lambda self: self._value,
        "__eq__": lambda self, other: type(self) is type(other) and self._value == other._value,
        "__hash__": lambda self: self._value,
        "__str__": spelled,
        "members": members,
    }
    if has_name:
        body["name"] = property(lambda self: self._spelled)
    made: Any = type(kind, (), body)
    for value, name in enumerate(members):
        member = made()
        member._spelled, member._value = name, value
        setattr(made, name, member)
    return made


def _strict(name: str, contract: Class, behaviour: type, kit: Kit) -> type:
    """Return a class with the recorded names alone, which does what a behaviour does."""

    def init(self: Any, *arguments: Any, _inside: bool = False, **named: Any) -> None:
        if not _inside:
            if contract.constructor is None:
                raise TypeError(f"{name}: No constructor defined!")
            arguments = _bound(contract.constructor, arguments, named)
        object.__setattr__(self, "_it", behaviour(kit, *arguments))

    def get(self: Any, attribute: str) -> Any:
        if attribute not in contract.readable:
            raise AttributeError(f"{name} of TensorRT {kit.version} has no {attribute!r}")
        return getattr(self._it, attribute)

    def put(self: Any, attribute: str, value: Any) -> None:
        if attribute not in contract.settable:
            raise AttributeError(f"{name} of TensorRT {kit.version} cannot set {attribute!r}")
        setattr(self._it, attribute, value)

    body: dict[str, Any] = {"__init__": init, "__getattr__": get}
    if name == "ILogger":  # for deriving from
        body = {"__init__": lambda self: object.__setattr__(self, "is_made", True)}
    else:
        body["__setattr__"] = put
    for method, signature in contract.methods.items():
        body[method] = _method(name, method, signature)
    return type(name, (), body)


def _method(name: str, method: str, signature: str) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        bound = _bound(signature, arguments, named)
        if not hasattr(self._it, method):
            raise NotImplementedError(f"{name}.{method} is recorded and not simulated")
        return getattr(self._it, method)(*bound)

    return call


def _bound(signature: str, arguments: Sequence[Any], named: dict[str, Any]) -> tuple[Any, ...]:
    bound = inspect.signature(eval(f"lambda {signature}: 0")).bind(*arguments, **named)
    bound.apply_defaults()
    return bound.args
