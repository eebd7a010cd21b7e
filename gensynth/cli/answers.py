"""The commands `gensynth val` and `gensynth predict`: answers by ONNX Runtime alone."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gensynth.cli.exit_codes import reported
from gensynth.cli.form import Form
from gensynth.cli.program import Csv, Json
from gensynth.errors import ConfigError

if TYPE_CHECKING:
    from gensynth.uses.classifier import Given

Network = Annotated[
    Path,
    typer.Argument(metavar="NETWORK", help="An ONNX file, an artefact, or RUN/finalists/NAME."),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,N", help="Of each channel of images in [0, 1], or one; of others' files."
    ),
]
Std = Annotated[str | None, typer.Option(metavar="N,N,N", help="Standard deviation, likewise.")]
Size = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Side of images, where the file has none.")
]
Colour = Annotated[
    str, typer.Option(metavar="rgb|bgr|grey", help="Channels that others' files read, in order.")
]


def val(
    network: Network,
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", help="One folder of images a class, or its test.")
    ],
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    colour: Colour = "rgb",
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Hold a classifier against a folder of images: score, interval, confusion, every class."""
    with reported():
        from gensynth.render.answers import class_rows, validation, validation_document
        from gensynth.uses.val import validate

        form = Form(as_json, as_csv)
        found = validate(network, data, given=given_reading(mean, std, size, colour))
        value = validation_document(found) if as_json else None
        form.print(value, partial(class_rows, found), lambda _: validation(found))


def predict(
    network: Network,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files.")],
    most: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="Classes told of each.")
    ] = 3,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    colour: Colour = "rgb",
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Say what a classifier takes some images for."""
    with reported():
        from gensynth.render.answers import prediction_rows, predictions
        from gensynth.uses.predict import predict

        form = Form(as_json, as_csv)
        found = predict(network, images, most=most, given=given_reading(mean, std, size, colour))
        form.print(found, partial(prediction_rows, found), lambda _: predictions(found))


def given_reading(mean: str | None, std: str | None, size: int | None, colour: str) -> "Given":
    """Return what options say of how a file of others reads images."""
    from gensynth.data.picture import COLOURS
    from gensynth.suggestion import did_you_mean
    from gensynth.uses.classifier import Given

    if colour not in COLOURS:
        raise ConfigError(f"unknown colour order '{colour}'; {did_you_mean(colour, COLOURS)}")
    return Given(
        mean=_numbers("--mean", mean), std=_numbers("--std", std), colour=colour, size=size
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part)
    except ValueError as error:
        raise ConfigError(f"{option} must be numbers with commas, got '{text}'") from error
