"""The commands `gensynth devices add | list | check | remove`: machines to measure on."""

from functools import partial
from typing import Annotated

import typer

from gensynth.cli.exit_codes import reported
from gensynth.cli.form import Form
from gensynth.cli.program import SHORT_HELP, Csv, Json, Quiet, Verbose
from gensynth.errors import ConfigError
from gensynth.render.visible import say

Alias = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")]

devices = typer.Typer(
    help="The machines that networks are measured on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=SHORT_HELP,
)


@devices.command()
def add(
    alias: Alias,
    destination: Annotated[
        str,
        typer.Argument(metavar="USER@HOST", help="As ssh takes it; ssh://USER@HOST:PORT too."),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Kind of board, such as jetson-tx2; else found when it answers."
        ),
    ] = None,
    python: Annotated[
        str, typer.Option(metavar="COMMAND", help="Starts Python 3.6 or newer there.")
    ] = "python3",
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256:...", help="Its host key's, known from elsewhere; nothing is asked."
        ),
    ] = None,
) -> None:
    """Register a machine: shows its host key's fingerprint, and asks whether it is the one."""
    with reported():
        from gensynth.devices import registry
        from gensynth.devices.check import recognised
        from gensynth.devices.hostkeys import fetch
        from gensynth.devices.registry import Device

        device = Device(alias, destination, profile=profile or "generic", python=python)
        registry.check_free(alias)
        key = fetch(destination)
        if fingerprint is None:
            say(f"{destination} shows the {key.type} host key\n  {key.fingerprint}", err=True)
            if not _said_yes(key.fingerprint):
                raise ConfigError(f"'{alias}' is not registered")
        elif fingerprint != key.fingerprint:
            raise ConfigError(
                f"{destination} shows the host key {key.fingerprint}, not {fingerprint}; "
                f"'{alias}' is not registered"
            )
        found = recognised(registry.add(device, key), keep=profile is not None)
        say(f"'{alias}' is registered as {found.device.profile}")
        if found.note:
            say(f"note: {found.note}", err=True)
        say(f"what works there: gensynth devices check {alias}")


@devices.command("list")
def show(as_json: Json = False, as_csv: Csv = False) -> None:
    """List the devices that can be named."""
    with reported():
        from gensynth.devices import registry
        from gensynth.render.devices import devices
        from gensynth.render.documents import plain

        known = registry.all_devices()
        Form(as_json, as_csv).print(known, lambda: plain(known), lambda _: devices(known))


@devices.command()
def check(
    alias: Annotated[
        str, typer.Argument(metavar="NAME", help="A device.", envvar="GENSYNTH_DEVICE")
    ] = "local",
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, max=600, help="That each runtime may take to open there."
        ),
    ] = 30,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what works on a device, and how to mend what does not."""
    with reported():
        from gensynth.devices import registry
        from gensynth.devices.check import check as examine
        from gensynth.render.devices import checked
        from gensynth.render.live import Live, console

        device = registry.find(alias)
        with Live(console(stderr=True)) as live:
            live.phase("check")
            found = examine(device, patience)
        Form(as_json).print(found, None, partial(checked, found))
    if not found.can_measure:
        raise typer.Exit(code=1)


@devices.command()
def remove(alias: Alias) -> None:
    """Forget a device and its host key; nothing on the device is touched."""
    with reported():
        from gensynth.devices import registry

        registry.remove(alias)
        say(f"'{alias}' is no longer registered")


def _said_yes(fingerprint: str) -> bool:
    """Ask; where nobody can answer, say how to go on without being asked."""
    try:
        return typer.confirm("Is it the machine that you mean?", err=True)
    except typer.Abort as error:
        raise ConfigError(
            "nobody answered; compare the fingerprint on the machine itself, then run the command "
            f"again with --fingerprint {fingerprint}"
        ) from error
