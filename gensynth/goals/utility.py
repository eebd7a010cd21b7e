"""Scores that weigh a network's accuracy against its cost: the paper's U.

Nothing here looks inside a network: accuracy is measured by `train`, parameters
and MACs are counted by `cost`, latency and energy are measured or estimated by `bench`.
"""

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import overload

import numpy as np

from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.suggestion import did_you_mean

Numbers = float | np.ndarray
"""One network's value, or an array of many networks' values."""


@overload
def netscore(accuracy_pct: float, params_m: float, macs_g: float) -> float: ...
@overload
def netscore(accuracy_pct: Numbers, params_m: Numbers, macs_g: Numbers) -> Numbers: ...
def netscore(accuracy_pct: Numbers, params_m: Numbers, macs_g: Numbers) -> Numbers:
    """Return the NetScore of a network: accuracy earned per unit of size and work.

        netscore = 20 log10(accuracy^2 / (params^0.5 * macs^0.5))

    Higher is better. Quartering the parameters at equal accuracy adds 6.02, and
    so does quartering the MACs. Arrays are taken element by element.

    Source: Wong, "NetScore", arXiv:1806.05512, with its exponents for on-device
    use (alpha = 2, beta = gamma = 0.5). Two things that published code gets
    differently, and we do not: the logarithm is to base 10, and the counts are in
    millions and billions. Raw counts shift every score by the same amount.

    Args:
        accuracy_pct: top-1 accuracy on held-out data, in percent, in (0, 100].
        params_m: trainable parameters, in millions (1e6).
        macs_g: multiply-accumulates for one input, in billions (1e9). One MAC is
            two FLOPs.

    Raises:
        ValueError: if `accuracy_pct` is outside (0, 100], or a cost is not positive.

    Example:
        >>> round(netscore(accuracy_pct=70.6, params_m=4.2, macs_g=0.569), 2)
        70.17
    """
    _check_accuracy(accuracy_pct)
    _check_cost("params_m", params_m)
    _check_cost("macs_g", macs_g)
    score = 40 * np.log10(accuracy_pct) - 10 * np.log10(params_m) - 10 * np.log10(macs_g)
    return _plain(score)


@overload
def information_density(accuracy_pct: float, params_m: float) -> float: ...
@overload
def information_density(accuracy_pct: Numbers, params_m: Numbers) -> Numbers: ...
def information_density(accuracy_pct: Numbers, params_m: Numbers) -> Numbers:
    """Return the accuracy that each million of parameters carries.

        information_density = accuracy / params

    in percent per million parameters; higher is better. Arrays are taken element by
    element.

    Source: Canziani, Paszke and Culurciello, "An analysis of deep neural network models
    for practical applications", arXiv:1605.07678.

    Args:
        accuracy_pct: top-1 accuracy on held-out data, in percent, in (0, 100].
        params_m: trainable parameters, in millions (1e6).

    Raises:
        ValueError: if `accuracy_pct` is outside (0, 100], or `params_m` is not positive.

    Example:
        >>> round(information_density(accuracy_pct=92.6, params_m=0.27))
        343
    """
    _check_accuracy(accuracy_pct)
    _check_cost("params_m", params_m)
    return _plain(np.divide(accuracy_pct, params_m))


@overload
def size_mib(params: float) -> float: ...
@overload
def size_mib(params: Numbers) -> Numbers: ...
def size_mib(params: Numbers) -> Numbers:
    """Return what parameters take in FP32, 4 bytes each, in MiB.

    It follows from the graph alone, whatever a file adds: its weights file also keeps the running
    statistics of norms, its ONNX file has norms folded into convolutions, and either has a header.

    Example:
        >>> size_mib(272_474)  # ResNet-20
        1.0394058227539062
    """
    return params * 4 / 2**20


Derived = tuple[frozenset[str], Callable[[Mapping[str, Numbers]], Numbers]]
"""What a name is computed from, and how."""


def _derived(quality: str) -> dict[str, Derived]:
    """Return what a utility may read beside the metrics, for networks of one quality."""
    return {
        "params_m": (frozenset({"params"}), lambda m: m["params"] / 1e6),
        "macs_g": (frozenset({"macs"}), lambda m: m["macs"] / 1e9),
        "size_mib": (frozenset({"params"}), lambda m: size_mib(m["params"])),
        "netscore": (
            frozenset({quality, "params", "macs"}),
            lambda m: netscore(m[quality], m["params"] / 1e6, m["macs"] / 1e9),
        ),
        "information_density": (
            frozenset({quality, "params"}),
            lambda m: information_density(m[quality], m["params"] / 1e6),
        ),
    }


_FUNCTIONS: dict[str, tuple[int, Callable[..., Numbers]]] = {  # name: (arguments, function)
    "log10": (1, np.log10),
    "log": (1, np.log),
    "sqrt": (1, np.sqrt),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}
_OPERATORS: dict[type[ast.operator], Callable[..., Numbers]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.float_power,
}
_KEY = re.compile(r"(?P<metric>[A-Za-z_]\w*)@(?P<device>\w+(-+\w+)*)", re.ASCII)
_LONGEST = 1_000
_DEEPEST = 40


class Utility:
    """A universal performance function: the paper's U, chosen by name or written out.

    Attributes:
        expression: what it computes: "netscore", "information_density", or arithmetic
            (+ - * / ** and parentheses) over numbers, the metrics of `gensynth.goals.metrics`
            (qualities in percent), those of a device with it ("img_per_joule@tx2"; a name may
            hold "-", so a minus behind one needs a space), params_m (millions), macs_g
            (billions), and the functions log10, log (natural), sqrt, min and max.
        quality: the task's metric that scores are computed from.
        needs: keys of the metrics it reads, scores put in what they are computed from.

    The text is parsed and walked, never executed.

    Args:
        expression: the text.
        quality: the task's metric that scores are computed from.

    Raises:
        ConfigError: if the expression is anything else; an unknown name is answered with
            the nearest known one.

    Example:
        >>> utility = Utility("netscore - 2 * max(0, latency_ms@tx2 - 5)")
        >>> round(utility({"top1": 70.6, "params": 4.2e6, "macs": 569e6, "latency_ms@tx2": 6}), 2)
        68.17
        >>> sorted(utility.needs)
        ['latency_ms@tx2', 'macs', 'params', 'top1']
    """

    def __init__(self, expression: str, quality: str = metrics.TOP1.name) -> None:
        self.expression = " ".join(expression.split())  # on one line, as places in it are counted
        self.quality = quality
        self._derived = _derived(quality)
        self._measured = frozenset(metrics.names()) - self._derived.keys()
        if len(self.expression) > _LONGEST:
            raise ConfigError(
                f"utility has {len(self.expression)} characters of at most {_LONGEST}"
            )
        self._keys = dict(_keys(self.expression))
        self._tree = self._parse()
        self.needs: frozenset[str] = self._check(self._tree, depth=0)
        if not self.needs:
            raise ConfigError(
                f'utility "{self.expression}" is the same for every network; '
                f"{did_you_mean(self.expression, [*sorted(self._measured), *self._derived])}"
            )

    def __repr__(self) -> str:
        return f"Utility({self.expression!r})"

    def on(self, device: str) -> "Utility":
        """Return it with every device's metric that names no device as that of this one."""
        loose = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Name)
            and node.id in metrics.names("device")
            and node.col_offset not in self._keys
        ]
        text = self.expression.encode()
        for node in sorted(loose, key=lambda node: -node.col_offset):
            end = node.col_offset + len(node.id)
            blank = " " * text[end:].startswith(b"-")  # a device's name may go on with "-"
            text = text[:end] + f"@{device}{blank}".encode() + text[end:]
        return Utility(text.decode(), self.quality)

    @overload
    def __call__(self, values: Mapping[str, float]) -> float: ...
    @overload
    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray: ...
    @overload
    def __call__(self, values: Mapping[str, Numbers]) -> Numbers: ...
    def __call__(self, values: Mapping[str, Numbers]) -> Numbers:
        """Return U of one network, or of as many as the arrays hold.

        Args:
            values: value or (networks,) array of every metric in `needs`; others may be
                there too.

        Raises:
            ValueError: if a needed metric is missing, or NetScore refuses a value.
            ConfigError: if the expression is not finite, such as log10(top1 - 90) at 89.
        """
        missing = sorted(self.needs - values.keys())
        if missing:
            raise ValueError(f"utility {self.expression!r} needs {missing}, got {sorted(values)}")
        with np.errstate(all="ignore"):
            value = np.asarray(self._value(self._tree, values), dtype=float)
        if not np.isfinite(value).all():
            first = int(np.flatnonzero(~np.isfinite(value.ravel()))[0])
            at = ", ".join(
                f"{name} = {np.broadcast_to(values[name], value.shape).ravel()[first]:.6g}"
                for name in sorted(self.needs)
            )
            raise ConfigError(f'utility "{self.expression}" is not a finite number at {at}')
        return _plain(value)

    def _parse(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what `_check` refuses, such as a call of 1
                return ast.parse(_as_names(self.expression), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ConfigError(
                f'utility "{self.expression}" cannot be read; write for example '
                "'netscore' or 'netscore - 2 * log10(latency_ms)'"
            ) from error

    def _check(self, node: ast.expr, depth: int) -> frozenset[str]:
        """Refuse what is not arithmetic; return the measured metrics below a node."""
        if depth > _DEEPEST:
            raise ConfigError(
                f'utility "{self.expression}" is nested deeper than {_DEEPEST} levels'
            )
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return self._check_constant(number)
            case ast.Name(col_offset=place) if place in self._keys:
                return self._check_key(self._keys[place])
            case ast.Name(id=name) if name in self._measured:
                return frozenset({name})
            case ast.Name(id=name) if name in self._derived:
                return self._derived[name][0]
            case ast.Name(id=name):
                raise self._unknown(name)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._check(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._check(left, depth + 1) | self._check(right, depth + 1)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._check_call(name, arguments, depth)
            case ast.BinOp(op=ast.MatMult()):
                raise ConfigError(
                    f'a device stands behind its metric without spaces, got "{self.expression}"; '
                    "write for example latency_ms@local"
                )
        raise ConfigError(
            f'utility "{self.expression}" may hold numbers, metrics, + - * / ** and the '
            f"functions {', '.join(_FUNCTIONS)}; it holds "
            f"'{ast.get_source_segment(self.expression, node)}'"
        )

    def _unknown(self, name: str) -> ConfigError:
        known = [*sorted(self._measured), *self._derived, *_FUNCTIONS]
        near = metrics.nearest(name, known)
        return ConfigError(f"unknown name '{name}' in utility \"{self.expression}\"; {near}")

    def _check_key(self, key: str) -> frozenset[str]:
        name, device = metrics.parts_of(key)
        if name not in self._measured and name not in self._derived:
            raise self._unknown(name)
        if name in self._derived or metrics.find(name, self.expression).of != "device":
            raise ConfigError(
                f'{name} in utility "{self.expression}" is the same on every device; '
                f"drop '@{device}'"
            )
        return frozenset({key})

    def _check_constant(self, number: float) -> frozenset[str]:
        try:
            finite = math.isfinite(float(number))
        except OverflowError:
            finite = False
        if not finite:
            raise ConfigError(f'utility "{self.expression}" holds a number that is too large')
        return frozenset()

    def _check_call(self, name: str, arguments: list[ast.expr], depth: int) -> frozenset[str]:
        if name not in _FUNCTIONS:
            raise ConfigError(
                f"unknown function '{name}' in utility \"{self.expression}\"; "
                f"{did_you_mean(name, _FUNCTIONS)}"
            )
        wanted, _ = _FUNCTIONS[name]
        if len(arguments) != wanted:
            raise ConfigError(
                f"{name} takes {wanted} value{'s' * (wanted > 1)}, got {len(arguments)} in "
                f'utility "{self.expression}"'
            )
        return frozenset().union(*(self._check(a, depth + 1) for a in arguments))

    def _value(self, node: ast.expr, values: Mapping[str, Numbers]) -> Numbers:
        """Evaluate a node that `_check` has let through."""
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(col_offset=place) if place in self._keys:
                return values[self._keys[place]]
            case ast.Name(id=name):
                return values[name] if name in self._measured else self._derived[name][1](values)
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, values)
                return -value if isinstance(op, ast.USub) else value
            case ast.BinOp(left=left, op=op, right=right):
                apply = _OPERATORS[type(op)]
                return apply(self._value(left, values), self._value(right, values))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _FUNCTIONS[name][1](*(self._value(a, values) for a in arguments))
        raise TypeError(f"unchecked {ast.dump(node)}")


def _keys(expression: str) -> Iterator[tuple[int, str]]:
    """Yield every metric with its device, by where it begins: in bytes, as `ast` counts."""
    for found in _KEY.finditer(expression):
        yield len(expression[: found.start()].encode()), found[0]


def _as_names(expression: str) -> str:
    """Return an expression in which a metric with its device is one name, each as long as before.

    On one line: places in it are those of `_keys`.
    """
    return _KEY.sub(lambda found: found[0].replace("@", "_").replace("-", "_"), expression)


def _plain(value: Numbers) -> Numbers:
    """Turn a zero-dimensional array into a float."""
    return float(value) if np.ndim(value) == 0 else value


def _check_accuracy(accuracy_pct: Numbers) -> None:
    values = np.asarray(accuracy_pct, dtype=float)
    wrong = ~((values > 0) & (values <= 100))
    if wrong.any():
        raise ValueError(
            f"accuracy_pct must be in (0, 100], got {values[wrong].ravel()[0]:g}; "
            "a fraction such as 0.706 is 70.6 percent"
        )


def _check_cost(name: str, cost: Numbers) -> None:
    values = np.asarray(cost, dtype=float)
    wrong = ~((values > 0) & np.isfinite(values))
    if wrong.any():
        raise ValueError(f"{name} must be positive, got {values[wrong].ravel()[0]:g}")
