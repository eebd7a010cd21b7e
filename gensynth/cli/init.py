"""The command `gensynth init`: a commented run file for one's own network and images."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gensynth.cli.exit_codes import reported
from gensynth.errors import ConfigError
from gensynth.render.visible import say


def init(
    prototype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Built-in prototype, or module:factory of your own."),
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Its weights.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="As synth --data: a folder, or a name.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="As synth --require; once for each.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="As of synth.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The run file; it must not exist.")
    ] = Path("run.toml"),
) -> None:
    """Write a run file with every key, its default and what it means."""
    with reported():
        from gensynth.atomic_files import reason, write_bytes
        from gensynth.cli.template import seen_from, template
        from gensynth.config_file import assigned, read
        from gensynth.runs.plan import check_names, usual_requirements

        if out.exists():
            raise ConfigError(f"{out} is there already; name another file by --out")
        given = {
            "prototype.network": prototype,
            "prototype.weights": weights,
            "data.source": data,
            **assigned(settings or ()),
        }
        given["requirements"] = require or usual_requirements(read(None, given).task)
        check_names(read(None, given))
        placed = seen_from(out.absolute().parent, given)
        try:
            write_bytes(out, template(placed, out.name).encode())
        except OSError as error:
            raise ConfigError(f"{out} cannot be written: {reason(error)}") from error
        say(f"{out}: look it over, then: gensynth synth {shlex.quote(str(out))} --plan")
