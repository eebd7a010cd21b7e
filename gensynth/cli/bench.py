"""The command `gensynth bench`: networks measured in turns on a device, or estimated for one.

The table, or with --json a record a line, goes to stdout. The exit code is 0 for figures that
may be used, 1 for figures that may not (throttled, not steady, simulated; flagged with
--strict; estimates of operators that nothing is known of) or could not be kept, 2 where there
are none.
"""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gensynth.cli.exit_codes import reported, uninterrupted
from gensynth.cli.form import Form
from gensynth.cli.program import Csv, Quiet, Verbose
from gensynth.render.visible import say


def bench(
    networks: Annotated[
        list[Path],
        typer.Argument(metavar="NET...", help="ONNX files, and folders of runs or artefacts."),
    ],
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A registered device; with --estimate also a kind of board, such as jetson-tx2.",
            envvar="GENSYNTH_DEVICE",
        ),
    ] = "local",
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Reach no device: say what is known without, with intervals."
        ),
    ] = False,
    grade: Annotated[
        str | None,
        typer.Option(
            metavar="quick|standard|report",
            help="quick (10 s a network), standard (2 min, 4 with energy) or report (10 min, 23 "
            "with energy); else quick, and standard with --energy.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="fp32|fp16|int8", help="As far as the device has it.")
    ] = "fp32",
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images a run; else the file's own, or 1."),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, max=1024, help="Of a processor, for one operator.")
    ] = 1,
    energy: Annotated[
        bool, typer.Option("--energy", help="Also measure joules, where the device can.")
    ] = False,
    power_modes: Annotated[
        str | None,
        typer.Option(
            "--power-modes",
            "--power-mode",
            metavar="N,N",
            help="nvpmodel's numbers; measured in each, clocks locked.",
        ),
    ] = None,
    lock_clocks: Annotated[
        bool, typer.Option("--lock-clocks", help="Lock clocks meanwhile; needs permission there.")
    ] = False,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="Also from pixels to the answer; of artefacts.")
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="tensorrt|trtexec|onnxruntime",
            help="What must measure; else the first that works.",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Also the time of each kernel, by the network's vertices."),
    ] = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N,N", help="Sizes of an input that the file leaves free; once for each."
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=FILE.npy", help="Feed this in place of noise."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again even if the store has an answer.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also where something was not as asked.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print records, one a line, in place of the table.")
    ] = False,
    as_csv: Csv = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure networks in turns on a device: latency, joules, and their ratios."""
    with reported():
        form = Form(as_json, as_csv)
    if estimate:
        measured_alone = {"--end-to-end": end_to_end, "--profile": profile, "--runtime": runtime}
        _estimate(
            networks,
            device,
            precision,
            batch,
            shape or [],
            power_modes,
            threads,
            refused=[name for name, value in measured_alone.items() if value],
            form=form,
        )
        return
    may_be_used = True
    with reported():
        with uninterrupted():
            from gensynth.bench.record import is_usable
            from gensynth.bench.request import parse_inputs, parse_modes, parse_shapes
            from gensynth.bench.session import measure
        from gensynth.devices.profiles import find_profile
        from gensynth.devices.registry import find
        from gensynth.render.bench import bench as table
        from gensynth.render.live import Live, console

        shapes, inputs = parse_shapes(shape or []), parse_inputs(given or [])
        for mode in parse_modes(power_modes, find_profile(find(device).profile)):
            with Live(console(stderr=True)) as live:
                record = measure(
                    networks,
                    device=device,
                    grade=grade,
                    precision=precision,
                    batch=batch,
                    threads=threads,
                    energy=energy,
                    power_mode=mode,
                    lock_clocks=lock_clocks,
                    end_to_end=end_to_end,
                    runtime=runtime,
                    profile=profile,
                    shapes=shapes,
                    inputs=inputs,
                    fresh=fresh,
                    command=shlex.join(["gensynth", *sys.argv[1:]]),
                    listener=live,
                )
            _print(record, table, form)
            may_be_used = may_be_used and is_usable(record) and not (strict and record["flags"])
            may_be_used = may_be_used and record["not_kept"] is None
    if not may_be_used:
        raise typer.Exit(code=1)


def _estimate(
    networks: list[Path],
    device: str,
    precision: str,
    batch: int | None,
    shape: list[str],
    power_modes: str | None,
    threads: int,
    *,
    refused: list[str],
    form: Form,
) -> None:
    are_known = True
    with reported():
        with uninterrupted():
            from gensynth.bench.estimate.answer import estimated, find_place
            from gensynth.bench.request import parse_modes, parse_shapes
        from gensynth.errors import ConfigError
        from gensynth.render.estimates import estimates

        if refused:
            raise ConfigError(f"{refused[0]} is of measurements alone; leave it or --estimate out")
        shapes = parse_shapes(shape)
        for mode in parse_modes(power_modes, find_place(device).profile):
            record = estimated(
                networks,
                device=device,
                precision=precision,
                batch=batch,
                shapes=shapes,
                power_mode=mode,
                threads=threads,
            )
            _print(record, estimates, form)
            are_known = are_known and not any(one["unknown"] for one in record["networks"])
    if not are_known:
        raise typer.Exit(code=1)


def _print(record: dict[str, Any], shown: Callable[[dict[str, Any], int], str], form: Form) -> None:
    if form.csv:
        from gensynth.render.documents import measured, to_csv

        say(to_csv(measured(record)))
        return
    if form.json:
        import json

        say(json.dumps(record, allow_nan=False))
        return
    from gensynth.render.live import console
    from gensynth.render.profile import profile as kernels

    screen = console()
    screen.print(shown(record, screen.width))
    if any("profile" in network for network in record["networks"]):
        screen.print("\n" + kernels(record, screen.width))
