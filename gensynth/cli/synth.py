"""The command `gensynth synth`: start a run, plan it, go on with it."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gensynth.cli.exit_codes import judged, reported, uninterrupted
from gensynth.cli.form import Form
from gensynth.cli.program import Csv, Json, Quiet, Verbose
from gensynth.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from gensynth.config import RunConfig
    from gensynth.runs.ahead.reach import Reach
    from gensynth.runs.result import Result

BESIDE_RESUME = ("requirements", "search.cycles", "finalists.count")
"""What may be asked of a run that has begun, see `gensynth.runs.changes`."""


def synth(
    run_file: Annotated[
        Path | None, typer.Argument(metavar="RUN.toml", help="A run file; else the quickstart.")
    ] = None,
    prototype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Built-in prototype, timm:NAME, torchvision:NAME, or module:factory of your own.",
        ),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of its factory, such as depth=20; once for each."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Its weights: safetensors, or of torch.save."),
    ] = None,
    train_prototype: Annotated[
        bool,
        typer.Option(
            "--train-prototype", help="Train the prototype first, from its weights if it has any."
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="fashion-mnist, cifar10, camvid, module:factory, a folder of images by class "
            "or of images and masks, or COCO's JSON of boxes.",
        ),
    ] = None,
    data_folder: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the official files of cifar10 or camvid lie, or the images of a JSON.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="classification|segmentation|detection|module:MyTask",
            help="What networks are trained to do.",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Such as 'top1 >= 87%', 'macs <= 4M', 'macs <= 50%' or 'latency_ms@local <= 5ms'; "
            "once for each. Together they take the place of the run file's. Stricter ones beside "
            "--resume.",
        ),
    ] = None,
    substitute: Annotated[
        list[str] | None,
        typer.Option(
            "--substitute",
            "--operator",  # as version 0.1 named it
            metavar="NAME",
            help="Such as separable or low_rank_2: may stand for a dense convolution; once for "
            "each.",
        ),
    ] = None,
    utility: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="netscore, information_density, or arithmetic over metrics, those of a device "
            "with it: 'netscore + 10*log10(img_per_joule@tx2)'.",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What networks are for: local, a registered device, or a kind of board; once for "
            "each. Together they take the place of the run file's.",
            envvar="GENSYNTH_DEVICE",
        ),
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cycles in which the generator learns; also of --resume."),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(metavar="N", help="Networks to distil and certify; also of --resume."),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Epochs of a finalist's distillation.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="All of the run's randomness follows from it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Any key of a run file, such as search.images=5000; once for each.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="The run folder; it must not exist."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what can be reached, and how long it takes.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin another run from what a finished one has learned, with other requirements.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="With --resume or --from: run Python that only the run's folder names."
        ),
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn a generator; distil, certify and export its networks."""
    options: dict[str, Any] = {
        "prototype.network": prototype,
        "prototype.weights": weights,
        "prototype.train": True if train_prototype else None,
        "data.source": data,
        "data.folder": data_folder,
        "task.kind": task,
        "requirements": require,
        "search.substitutes": substitute,
        "utility": utility,
        "devices": device,
        "search.cycles": cycles,
        "finalists.count": finalists,
        "finalists.epochs": epochs,
        "seed": seed,
        "out": out,
    }
    with reported():
        form = Form(as_json, as_csv)
        options["prototype.arguments"] = _assigned(argument) or None
        if resume is not None:
            if os.environ.get("GENSYNTH_DEVICE"):  # of the user's other commands
                options["devices"] = None
            given = {**_assigned(settings), **options}
            _refuse_beside_resume(run_file, given, plan=plan)
            _go_on(resume, given, form, trust=trust)
            return
        given = {**_assigned(settings), **_without_none(options)}
        if start is not None and run_file is not None:
            raise ConfigError(f"--from takes the run file of {start}; leave out {run_file}")
        if plan:
            _plan(_Asked(run_file, given, start, trust), form)
        else:
            _synth(_Asked(run_file, given, start, trust), form)


def _assigned(settings: list[str] | None) -> dict[str, Any]:
    from gensynth.config_file import assigned

    return assigned(settings or ())


def _without_none(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


@dataclass(frozen=True)
class _Asked:
    """What a run is to be: a run file or a run to begin from, and what the command lays over it."""

    run_file: Path | None
    given: Mapping[str, Any]
    start: Path | None
    trust: bool

    def config(self) -> "RunConfig":
        if self.start is not None:
            with uninterrupted():
                from gensynth.runs.inputs import begun_from

            return begun_from(self.start, self.given, trust=self.trust)
        from gensynth.config_file import read

        return read(self.run_file, self.given)


def _synth(asked: _Asked, form: Form) -> None:
    with _blaming(asked) as config:
        with uninterrupted():
            from gensynth.runs.run import synth
        from gensynth.render.live import Live, console

        with Live(console(stderr=True)) as live:
            done = synth(config, listener=live, command=shlex.join(["gensynth", *sys.argv[1:]]))
    show_result(done, form)
    judged(finalist.verdict for finalist in done.finalists)


def _go_on(run: Path, given: Mapping[str, Any], form: Form, *, trust: bool) -> None:
    with uninterrupted():
        from gensynth.runs.run import resume
    from gensynth.render.live import Live, console

    with Live(console(stderr=True)) as live:
        done = resume(
            run,
            trust=trust,
            listener=live,
            overrides={k: v for k, v in given.items() if k in BESIDE_RESUME},
        )
    show_result(done, form)
    judged(finalist.verdict for finalist in done.finalists)


def show_result(done: "Result", form: Form) -> None:
    """Print a finished run: its table, or what a program reads."""
    from gensynth.render.documents import networks
    from gensynth.render.result import result

    form.print(done, lambda: networks([done.prototype, *done.finalists]), partial(result, done))


def _plan(asked: _Asked, form: Form) -> None:
    with _blaming(asked) as config:
        with uninterrupted():
            from gensynth.runs.prepare import prepare
        from gensynth.render.documents import plain
        from gensynth.render.forecast import forecast
        from gensynth.render.live import Live, console
        from gensynth.render.reach import reach

        def tell(found: "Reach") -> None:  # before anything is measured
            if form.json or form.csv:
                return
            screen = console()
            live.step_aside(lambda: screen.print(reach(found, screen.width) + "\n"))

        with Live(console(stderr=True)) as live:
            job = prepare(config, listener=live, tell=tell)
            expected = job.forecast()
    whole = {**plain(job.reach), **plain(expected), "total_s": expected.total_s}
    form.print(whole, None, partial(forecast, expected))


def _refuse_beside_resume(run_file: Path | None, given: Mapping[str, Any], *, plan: bool) -> None:
    others = [key for key, value in given.items() if value is not None and key not in BESIDE_RESUME]
    if run_file is not None or plan or others:
        raise ConfigError(
            "--resume goes on with a run as it was begun, from the run file in its folder; give "
            "nothing beside it but stricter requirements (--require), more cycles (--cycles) or "
            "another number of finalists (--finalists)"
        )


@contextlib.contextmanager
def _blaming(asked: _Asked) -> Iterator["RunConfig"]:
    """Read the configuration, and name its file where what it says cannot be meant."""
    config, run_file = asked.config(), asked.run_file
    try:
        from gensynth.runs.plan import check_names

        check_names(config)
        yield config
    except ConfigError as error:
        if run_file is None or _said_by_option(error, asked.given):
            raise
        raise type(error)(f"{run_file.name}: {error}") from error


def _said_by_option(error: ConfigError, given: Mapping[str, Any]) -> bool:
    """Return whether an option, and not the run file, said what is wrong; messages quote it."""
    if isinstance(error, UnreachableError):
        return given.get("requirements") is not None
    message = _bare(str(error))
    texts = [text for value in given.values() for text in _texts(value)]
    keys = [key for text in texts for key in re.findall(r"\w+@[\w-]+", text)]
    return any(_bare(text) in message for text in texts) or any(key in str(error) for key in keys)


def _bare(text: str) -> str:
    """Return a text without its blanks and its devices, which a message may have added."""
    return re.sub(r"@[\w-]+", "", "".join(text.split()))


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
