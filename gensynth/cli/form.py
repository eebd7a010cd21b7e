"""In which form a result is printed: the table for people, or JSON or CSV for programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gensynth.errors import ConfigError
from gensynth.render.visible import say


@dataclass(frozen=True)
class Form:
    """What was asked for.

    Attributes:
        json, csv: whether it is that; of neither it is the table.
    """

    json: bool = False
    csv: bool = False

    def __post_init__(self) -> None:
        if self.json and self.csv:
            raise ConfigError("--json and --csv exclude each other; leave one of them out")

    def print(
        self,
        value: Any,
        rows: Callable[[], Sequence[dict[str, Any]]] | None,
        table: Callable[[int], str],
    ) -> None:
        """Print a result on stdout.

        Args:
            value: all of it, see `gensynth.render.documents.plain`.
            rows: of CSV; None where it is no list of things.
            table: a width in columns -> the text for people.

        Raises:
            ConfigError: if CSV is asked of what has no rows.
        """
        if self.json:
            from gensynth.render.documents import to_json

            say(to_json(value))
        elif self.csv:
            if rows is None:
                raise ConfigError("there are no rows to separate by commas; use --json")
            from gensynth.render.documents import to_csv

            say(to_csv(rows()))
        else:
            from gensynth.render.live import console

            screen = console()
            screen.print(table(screen.width))
