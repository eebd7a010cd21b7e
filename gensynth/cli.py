"""The command line: parse, call, print.

    gensynth synth       learn a generator, certify and export its networks
    gensynth generate    more networks from a learned generator
    gensynth show        the table of a finished run
    gensynth export      files that a board reads
    gensynth verify      whether such files are whole and right
    gensynth inspect     what can be changed in a network, and what stays and why
    gensynth bench       latency and joules of networks, in turns on a device
    gensynth devices     the machines that networks are measured on

Results go to stdout, everything else to stderr. What is wrong with the input is one line
"error: ..." and exit code 2; Ctrl-C is exit code 130. Whatever a command does, Python can do
with one call, so what is needed for that is imported within the command: `--help` imports
neither torch nor rich.
"""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gensynth import __version__
from gensynth.cli_bench import bench
from gensynth.cli_devices import devices
from gensynth.errors import ConfigError, UnreachableError
from gensynth.reported import reported, uninterrupted

if TYPE_CHECKING:
    from gensynth.config import RunConfig

app = typer.Typer(
    name="gensynth",
    help="Learn to generate small neural networks that meet a stated requirement.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def main() -> None:
    """Run the command that the command line names."""
    app(prog_name="gensynth")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gensynth {__version__}")
        raise typer.Exit


@app.callback()
def _gensynth(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
def synth(
    run_file: Annotated[
        Path | None, typer.Argument(metavar="RUN.toml", help="A run file; else the quickstart.")
    ] = None,
    prototype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Built-in prototype, or module:factory of your own."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its weights, as safetensors.")
    ] = None,
    train_prototype: Annotated[
        bool, typer.Option("--train-prototype", help="Train the prototype first.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="fashion-mnist, cifar10, a folder of images by class, or module:factory.",
        ),
    ] = None,
    data_folder: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Where the official files of cifar10 lie."),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Such as 'top1 >= 87%' or 'macs <= 4M'; once for each. Together they take the "
            "place of the run file's.",
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Such as separable or low_rank_2: may stand for a dense convolution; once for "
            "each.",
        ),
    ] = None,
    utility: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="netscore, information_density, or arithmetic over metrics."
        ),
    ] = None,
    cycles: Annotated[
        int | None, typer.Option(metavar="N", help="Cycles in which the generator learns.")
    ] = None,
    finalists: Annotated[
        int | None, typer.Option(metavar="N", help="Networks to distil and certify.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Epochs of a finalist's distillation.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="All of the run's randomness follows from it.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The run folder; it must not exist.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what can be reached, and how long it takes.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")
    ] = None,
) -> None:
    """Learn a generator; distil, certify and export its networks."""
    given = {
        "prototype.network": prototype,
        "prototype.weights": weights,
        "prototype.train": True if train_prototype else None,
        "data.source": data,
        "data.folder": data_folder,
        "requirements": require,
        "search.operators": operator,
        "utility": utility,
        "search.cycles": cycles,
        "finalists.count": finalists,
        "finalists.epochs": epochs,
        "seed": seed,
        "out": out,
    }
    with reported():
        if resume is not None:
            _refuse_beside_resume(run_file, given, plan=plan)
            _go_on(resume)
        elif plan:
            _plan(run_file, given)
        else:
            _synth(run_file, given)


@app.command()
def generate(
    run: Run,
    seeds: Annotated[
        str, typer.Option(metavar="SEEDS", help="FIRST:BEYOND such as 0:50, or some as 3,7,12.")
    ],
    distil: Annotated[
        bool, typer.Option("--distil", help="Also distil and certify each; goes on if stopped.")
    ] = False,
) -> None:
    """Draw more networks from a learned generator."""
    with reported():
        from gensynth.render.seeds import read_seeds

        wanted = read_seeds(seeds)
        with uninterrupted():
            from gensynth import family
        from gensynth.render.family import family as table
        from gensynth.render.live import Live, console

        with Live(console(stderr=True)) as live:
            drawn = (family.distil if distil else family.generate)(run, wanted, watch=live)
        console().print(table(drawn))


@app.command()
def show(run: Run) -> None:
    """Print the table of a finished run."""
    with reported():
        from gensynth.render.live import console
        from gensynth.render.result import result
        from gensynth.results import read_result

        screen = console()
        screen.print(result(read_result(run), screen.width))


@app.command()
def inspect(
    prototype: Annotated[
        str, typer.Argument(metavar="NAME", help="Built-in, or module:factory of your own.")
    ],
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="C,H,W",
            help="Channels, height and width of an input; 3,32,32 without. Once for each input.",
        ),
    ] = None,
    classes: Annotated[
        int, typer.Option(metavar="N", help="Classes that a factory is asked for.", min=1)
    ] = 10,
) -> None:
    """Say what can be changed in a network, and what stays and why; no weights are needed."""
    with reported():
        from gensynth.render.inspection import inspection, read_shapes

        shapes = read_shapes(shape or ["3,32,32"])
        from gensynth.inspection import inspect
        from gensynth.render.live import console

        found = inspect(prototype, shapes, classes=classes)
        screen = console()
        screen.print(inspection(found, screen.width))


@app.command()
def export(
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_NETWORK", help="A run folder, or one network's of it."),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="jetson-tx2, jetson-nano, jetson-xavier, jetson-orin-jp5, jetson-orin-jp6, "
            "nvidia-gpu, raspberry-pi or x86-cpu; else the device's, or x86-cpu.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="ALIAS", help="A registered device: files for what it is."),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Only ONNX files, without a folder round each.")
    ] = False,
    trt: Annotated[
        bool,
        typer.Option(
            "--trt",
            help="Build TensorRT's engine on the device, or here if there is a GPU for it; else "
            "say how it is built.",
        ),
    ] = False,
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="fp32, fp16 or int8, as far as the target has it.")
    ] = "fp32",
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Images a run; fixed then.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="To hold a folder a network; else RUN/artefacts."),
    ] = None,
) -> None:
    """Write a run's networks as files that a target reads, each compared with its network."""
    with reported():
        if onnx and trt:
            raise ConfigError(
                "--onnx asks for ONNX files alone and --trt for an engine beside them; leave out "
                "--onnx"
            )
        with uninterrupted():
            from gensynth import artefacts
        from gensynth.render.artefacts import artefacts as table
        from gensynth.render.live import Live, console

        wanted = artefacts.order(target=target, device=device, precision=precision, batch=batch)
        with Live(console(stderr=True)) as live:
            written = (
                artefacts.export_onnx(path, wanted, out=out, watch=live)
                if onnx
                else artefacts.export(path, wanted, trt=trt, out=out, watch=live)
            )
        typer.echo(table(written, trt=trt))


@app.command()
def verify(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="A folder of export's.")],
    device: Annotated[
        str | None,
        typer.Option(metavar="ALIAS", help="Run it on a registered device too, and compare."),
    ] = None,
) -> None:
    """Check an artefact's files, its ONNX file against its target, and that it computes right."""
    with reported():
        with uninterrupted():
            from gensynth.export.engine import verify_on
            from gensynth.export.verify import verify as check
        from gensynth.render.artefacts import verified, verified_on

        typer.echo(verified(check(artefact)))
        if device is not None:
            typer.echo(verified_on(device, *verify_on(artefact, device)))


app.command()(bench)
app.add_typer(devices, name="devices")


def _synth(run_file: Path | None, given: Mapping[str, Any]) -> None:
    with _blaming(run_file, given) as config:
        with uninterrupted():
            from gensynth.run import synth
        from gensynth.render.live import Live, console
        from gensynth.render.result import result

        with Live(console(stderr=True)) as live:
            done = synth(config, watch=live, command=shlex.join(["gensynth", *sys.argv[1:]]))
    screen = console()
    screen.print(result(done, screen.width))


def _go_on(run: Path) -> None:
    with uninterrupted():
        from gensynth.run import resume
    from gensynth.render.live import Live, console
    from gensynth.render.result import result

    with Live(console(stderr=True)) as live:
        done = resume(run, watch=live)
    screen = console()
    screen.print(result(done, screen.width))


def _plan(run_file: Path | None, given: Mapping[str, Any]) -> None:
    with _blaming(run_file, given) as config:
        with uninterrupted():
            from gensynth.job import prepare
        from gensynth.render.forecast import forecast
        from gensynth.render.live import Live, console

        with Live(console(stderr=True)) as live:
            expected = prepare(config, watch=live).forecast()
    screen = console()
    screen.print(forecast(expected, screen.width))


def _refuse_beside_resume(run_file: Path | None, given: Mapping[str, Any], *, plan: bool) -> None:
    if run_file is not None or plan or any(value is not None for value in given.values()):
        raise ConfigError(
            "--resume goes on with a run as it was begun, from the run file in its folder; "
            "give nothing else beside it"
        )


@contextlib.contextmanager
def _blaming(run_file: Path | None, given: Mapping[str, Any]) -> Iterator["RunConfig"]:
    """Read the configuration, and name its file where what it says cannot be meant."""
    from gensynth.runfile import read

    config = read(run_file, given)
    try:
        yield config
    except ConfigError as error:
        if run_file is None or _said_by_option(error, given):
            raise
        raise type(error)(f"{run_file.name}: {error}") from error


def _said_by_option(error: ConfigError, given: Mapping[str, Any]) -> bool:
    """Return whether an option, and not the run file, said what is wrong; messages quote it."""
    if isinstance(error, UnreachableError):
        return given["requirements"] is not None
    texts = [text for value in given.values() for text in _texts(value)]
    return any("".join(text.split()) in "".join(str(error).split()) for text in texts)


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
