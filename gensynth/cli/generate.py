"""The command `gensynth generate`: more networks of a learned generator, or the best of them."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from gensynth.cli.exit_codes import judged, reported, uninterrupted
from gensynth.cli.form import Form
from gensynth.cli.program import Csv, Json, Quiet, Run, Trust, Verbose


def generate(
    run: Run,
    seeds: Annotated[
        str, typer.Option(metavar="SEEDS", help="FIRST:BEYOND such as 0:50, or some as 3,7,12.")
    ] = "0:8",
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Such as 'macs <= 8M', in place of the run's on the same metric; once for each.",
        ),
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Such as 'macs <= 2M, 4M, 8M': only the best of all seeds within each.",
        ),
    ] = None,
    distil: Annotated[
        bool,
        typer.Option(
            "--distil", "--distill", help="Also distil and certify each; goes on if stopped."
        ),
    ] = False,
    trust: Trust = False,
    as_json: Json = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw more networks from a learned generator."""
    with reported():
        from gensynth.goals.budgets import read_budgets
        from gensynth.render.seeds import read_seeds

        form, wanted = Form(as_json, as_csv), read_seeds(seeds)
        if budgets is not None:
            read_budgets(budgets)  # refuses before torch is loaded
            _within(run, budgets, wanted, require or (), form, distil=distil, trust=trust)
            return
        with uninterrupted():
            from gensynth.runs import family, family_training
        from gensynth.render.documents import drawn as rows
        from gensynth.render.family import family as table
        from gensynth.render.live import Live, console

        with Live(console(stderr=True)) as live:
            drawn = (
                family_training.distil(
                    run, wanted, requirements=require or (), trust=trust, listener=live
                )
                if distil
                else family.generate(run, wanted, requirements=require or (), listener=live)
            )
        form.print(drawn, partial(rows, drawn), lambda _: table(drawn))
        judged(one.verdict for one in drawn.drawn)


def _within(
    run: Run,
    texts: str,
    seeds: Sequence[int],
    require: Sequence[str],
    form: Form,
    *,
    distil: bool,
    trust: bool,
) -> None:
    with uninterrupted():
        from gensynth.runs.budgets import within
    from gensynth.render import documents, family
    from gensynth.render.live import Live, console

    with Live(console(stderr=True)) as live:
        found = within(
            run, texts, seeds, distil=distil, requirements=require, trust=trust, listener=live
        )
    form.print(found, partial(documents.budgets, found), lambda _: family.budgets(found))
    judged(one.best.verdict for one in found if one.best is not None)
