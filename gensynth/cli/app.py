"""The command line: parse, call, print.

    gensynth init        a commented run file for one's own network and images
    gensynth synth       learn a generator, certify and export its networks
    gensynth generate    more networks from a learned generator
    gensynth show        the table of a finished run
    gensynth train       a network of a run distilled further, and certified
    gensynth certify     one's own further training of a network, certified in its run
    gensynth export      files that a board reads
    gensynth verify      whether such files are whole and right
    gensynth val         a classifier held against a folder of images
    gensynth predict     what it takes single images for
    gensynth inspect     what can be changed in a network, and what stays and why
    gensynth bench       latency and joules of networks, in turns on a device
    gensynth devices     the machines that networks are measured on

Results go to stdout, everything else to stderr. What is wrong with the input is one line
"error: ..." and exit code 2. Where every network of synth, generate or certify violates a
requirement it is 1, as for figures of bench that may not be used. Ctrl-C is 130, SIGTERM 143.
Whatever a command does, Python can do with one call, so what is needed for that is imported within
the command: `--help` imports neither torch nor rich.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gensynth import __version__
from gensynth.cli.answers import Colour, Mean, Size, Std, given_reading, predict, val
from gensynth.cli.bench import bench
from gensynth.cli.certify import certify, train
from gensynth.cli.devices import devices
from gensynth.cli.exit_codes import reported, uninterrupted
from gensynth.cli.foreign import export_foreign
from gensynth.cli.form import Form
from gensynth.cli.generate import generate
from gensynth.cli.init import init
from gensynth.cli.program import SHORT_HELP, Csv, Json, Program, Quiet, Run, Trust, Verbose
from gensynth.cli.synth import show_result, synth
from gensynth.errors import ConfigError
from gensynth.render.visible import say

app = typer.Typer(
    name="gensynth",
    help="Learn to generate small neural networks that meet a stated requirement.",
    cls=Program,
    context_settings=SHORT_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command that the command line names."""
    app(prog_name="gensynth")


def _version(wanted: bool) -> None:
    if wanted:
        say(f"gensynth {__version__}")
        raise typer.Exit


@app.callback()
def _gensynth(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command()(init)
app.command()(synth)
app.command()(generate)


@app.command()
def show(run: Run, as_json: Json = False, as_csv: Csv = False) -> None:
    """Print the table of a finished run."""
    with reported():
        from gensynth.runs.result import read_result

        form = Form(as_json, as_csv)
        show_result(read_result(run), form)


@app.command()
def inspect(
    prototype: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Built-in, timm:NAME, torchvision:NAME, or module:factory of your own.",
        ),
    ],
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="C,H,W",
            help="Channels, height and width of an input; 3,32,32 without. Once for each input.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(metavar="N", help="Classes that it must tell apart.", min=1)
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of its factory, such as depth=20; once for each."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Read up to this part, or this key of what it returns; once for each.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what can be changed in a network, and what stays and why; no weights are needed."""
    with reported():
        from gensynth.config_file import assigned
        from gensynth.render.inspection import inspection, read_shapes

        shapes, arguments = read_shapes(shape or ["3,32,32"]), assigned(argument or [])
        from gensynth.render.live import Live, console
        from gensynth.runs.plan import suggested_step
        from gensynth.space.inspection import inspect

        with Live(console(stderr=True)):
            found = inspect(
                prototype, shapes, classes=classes, arguments=arguments,
                outputs=tuple(output or ()),
            )  # fmt: skip
        step = suggested_step(found.coupling)
        Form(as_json).print(found, None, partial(inspection, found, step))


@app.command()
def export(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_NETWORK",
            help="A run folder, one network's of it, or an ONNX file of others.",
        ),
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
        typer.Option(
            metavar="ALIAS",
            help="A registered device: files for what it is.",
            envvar="GENSYNTH_DEVICE",
        ),
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
        str, typer.Option(metavar="fp32|fp16|int8", help="As far as the target has it.")
    ] = "fp32",
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Images a run; fixed then.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="To hold a folder a network; else RUN/artefacts. Of others' files the new one.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures that others' files are compared on, and INT8's ranges measured.",
        ),
    ] = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    colour: Colour = "rgb",
    trust: Trust = False,
    as_json: Json = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's networks as files that a target reads, each compared with its network."""
    with reported():
        form = Form(as_json, as_csv)
        if path.is_file():
            if trt or onnx:
                raise ConfigError("--trt and --onnx are of a run's networks; leave them out")
            how = given_reading(mean, std, size, colour)
            export_foreign(path, target, device, precision, batch, images, how, out, form)
            return
        if images is not None:
            raise ConfigError(f"--images are for files of others; {path} knows its own data")
        if onnx and trt:
            raise ConfigError(
                "--onnx asks for ONNX files alone and --trt for an engine beside them; leave out "
                "--onnx"
            )
        with uninterrupted():
            from gensynth.runs import artefacts
        from gensynth.render.artefacts import artefacts as table
        from gensynth.render.documents import artefacts as rows
        from gensynth.render.live import Live, console

        wanted = artefacts.order(target=target, device=device, precision=precision, batch=batch)
        with Live(console(stderr=True)) as live:
            written = (
                artefacts.export_onnx(path, wanted, out=out, trust=trust, listener=live)
                if onnx
                else artefacts.export(path, wanted, trt=trt, out=out, trust=trust, listener=live)
            )
        found = rows(written)
        form.print(found, lambda: found, lambda _: table(written, trt=trt))


@app.command()
def verify(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="A folder of export's.")],
    device: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS",
            help="Run it on a registered device too, and compare.",
            envvar="GENSYNTH_DEVICE",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an artefact's files, its ONNX file against its target, and that it computes right."""
    with reported():
        with uninterrupted():
            from gensynth.export.engine import verify_on
            from gensynth.export.verify import verify as check
        from gensynth.render.artefacts import verified, verified_on

        found = check(artefact)
        if not as_json:
            say(verified(found))
        on_device = () if device is None else (device, *verify_on(artefact, device))
        if as_json:
            Form(json=True).print({"here": found, "on_device": on_device}, None, str)
        elif on_device:
            say(verified_on(*on_device))


app.command()(val)
app.command()(predict)
app.command()(train)
app.command()(certify)
app.command()(bench)
app.add_typer(devices, name="devices")
