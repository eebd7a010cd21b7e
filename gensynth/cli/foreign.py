"""What `gensynth export` does with an ONNX file of others."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gensynth.cli.exit_codes import uninterrupted
from gensynth.cli.form import Form

if TYPE_CHECKING:
    from gensynth.uses.classifier import Given


def export_foreign(
    file: Path,
    target: str | None,
    device: str | None,
    precision: str,
    batch: int | None,
    images: Path | None,
    how: "Given",
    out: Path | None,
    form: Form,
) -> None:
    """Write it for a target, and say how near it is to what it was."""
    with uninterrupted():
        from gensynth.runs.artefacts import order
    from gensynth.render.answers import exported
    from gensynth.render.documents import flat, plain
    from gensynth.uses.foreign import export_file

    wanted = order(target=target, device=device, precision=precision, batch=batch)
    found = export_file(
        file, wanted.target.name, precision=precision, batch=batch, images=images, given=how,
        out=out,
    )  # fmt: skip
    form.print(found, lambda: [flat(plain(found))], partial(exported, found))
