"""The commands `gensynth certify` and `gensynth train`: a run's network trained further."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensynth.cli.exit_codes import judged, reported, uninterrupted
from gensynth.cli.form import Form
from gensynth.cli.program import Csv, Json, Quiet, Trust, Verbose

if TYPE_CHECKING:
    from gensynth.runs.result import Finalist

Data = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where the run's data lies now, as synth --data."),
]


def certify(
    network: Annotated[
        Path,
        typer.Argument(metavar="NETWORK", help="A network's folder in a run, with new weights."),
    ],
    data: Data = None,
    trust: Trust = False,
    as_json: Json = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Certify a network that was trained further; one more look at the run's test split."""
    with reported():
        form = Form(as_json, as_csv)
        with uninterrupted():
            from gensynth.runs.certification import certify
        from gensynth.render.live import Live, console

        command = shlex.join(["gensynth", *sys.argv[1:]])
        with Live(console(stderr=True)) as live:
            prototype, found = certify(
                network, data=data, trust=trust, listener=live, command=command
            )
        _show(prototype, found, form)


def train(
    network: Annotated[
        Path,
        typer.Argument(metavar="NETWORK", help="A network's folder in a run, RUN/finalists/NAME."),
    ],
    epochs: Annotated[
        float, typer.Option(metavar="N", help="Passes over the training images, beside the past.")
    ],
    data: Data = None,
    trust: Trust = False,
    as_json: Json = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Distil a run's network further into RUN/finalists/NAME-N, and certify it there."""
    with reported():
        form = Form(as_json, as_csv)
        with uninterrupted():
            from gensynth.runs.certification import train
        from gensynth.render.live import Live, console

        command = shlex.join(["gensynth", *sys.argv[1:]])
        with Live(console(stderr=True)) as live:
            prototype, found = train(
                network, epochs=epochs, data=data, trust=trust, listener=live, command=command
            )
        _show(prototype, found, form)


def _show(prototype: "Finalist", found: "Finalist", form: Form) -> None:
    from gensynth.render.documents import networks as rows
    from gensynth.render.result import networks

    both = [prototype, found]
    form.print(both, partial(rows, both), partial(networks, prototype, [found]))
    judged([found.verdict])
