"""Results that show themselves: printed as the command's table, in a notebook, as a data frame."""

import html
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gensynth.errors import ConfigError
from gensynth.render.documents import Row, drawn, networks
from gensynth.render.family import family
from gensynth.render.result import result
from gensynth.runs.family import Family
from gensynth.runs.result import Result

if TYPE_CHECKING:
    import pandas


class ShownResult(Result):
    """A finished run that shows itself."""

    @classmethod
    def of(cls, found: Result) -> "ShownResult":
        """Return the same run."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)})

    def __str__(self) -> str:
        """Return the table that `gensynth show` prints."""
        return result(self)

    def _repr_html_(self) -> str:
        return _table(networks([self.prototype, *self.finalists]))

    def to_frame(self) -> "pandas.DataFrame":
        """Return a row a network, the prototype first; percentages are in percent.

        Raises:
            ConfigError: if pandas is not installed.
        """
        return _frame(networks([self.prototype, *self.finalists]))


class ShownFamily(Family):
    """Networks of a learned generator that show themselves."""

    @classmethod
    def of(cls, found: Family) -> "ShownFamily":
        """Return the same family."""
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)})

    def __str__(self) -> str:
        """Return the table that `gensynth generate` prints."""
        return family(self)

    def _repr_html_(self) -> str:
        return _table(drawn(self))

    def to_frame(self) -> "pandas.DataFrame":
        """Return a row a network; percentages are in percent.

        Raises:
            ConfigError: if pandas is not installed.
        """
        return _frame(drawn(self))


def _frame(rows: Sequence[Row]) -> "pandas.DataFrame":
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("a data frame needs pandas; install it with: pip install pandas") from (
            error
        )
    return pandas.DataFrame(list(rows))


def _table(rows: Sequence[Row]) -> str:
    """Return rows as an HTML table; what others have named is escaped."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line("th", columns), *(_line("td", [row.get(n) for n in columns]) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _line(tag: str, cells: Sequence[Any]) -> str:
    shown = (html.escape(_cell(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in shown)}</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
