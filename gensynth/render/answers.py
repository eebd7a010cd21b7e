"""What a classifier answers: to single images, and to a folder of them by class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gensynth.render.figures import columns, interval, wrapped

if TYPE_CHECKING:
    from gensynth.uses.foreign import Exported
    from gensynth.uses.predict import Prediction
    from gensynth.uses.val import Validation

_MOST_CLASSES = 20
"""Of a confusion matrix that fits a screen."""
_NONE = "-"


def predictions(some: "Sequence[Prediction]") -> str:
    """Return a line an image: its likeliest classes with their shares."""
    rows = []
    for one in some:
        told = zip(one.classes, one.shares, strict=True)
        rows.append([str(one.image), *(f"{name} {100 * share:.1f} %" for name, share in told)])
    return "\n".join(columns(rows))


def validation(found: "Validation") -> str:
    """Return the score with its interval, every class, and the confusion where it fits."""
    score = found.score
    low, high = score.bounds()
    between = interval(100 * low, 100 * high)
    of = f"of {score.n:,} images in {found.folder}"
    lines = [f"top-1 {100 * score.value:.2f} %, 95 % interval {between}, {of}"]
    if found.top5 is not None:
        lines.append(f"top-5 {100 * found.top5.value:.2f} %")
    rows = [["class", "images", "recall", "95 % interval", "precision"]]
    for one in found.classes:
        ends = one.recall_interval
        told = _NONE if ends is None else interval(100 * ends[0], 100 * ends[1])
        rows.append([one.name, f"{one.n:,}", _percent(one.recall), told, _percent(one.precision)])
    lines += ["", *columns(rows)]
    if len(found.names) <= _MOST_CLASSES:
        head = ["true \\ given", *found.names]
        body = [
            [name, *map(str, row)] for name, row in zip(found.names, found.confusion, strict=True)
        ]
        lines += ["", *columns([head, *body])]
    return "\n".join(lines)


def exported(found: "Exported", width: int = 80) -> str:
    """Return where a file of others stands now, and how near it is to what it was."""
    seen = f"{found.images} {'inputs of noise' if found.noise else 'pictures'}"
    near = f"outputs differ by {found.relative:.2g} of the largest, on {seen}"
    if found.same_class is not None and not found.noise:
        near += f"; the same class for {100 * found.same_class:.1f} % of them"
    lines = [
        f"{found.file}: {found.precision}, opset {found.report.opset}, for {found.target}",
        near,
    ]
    if found.kept:
        kept = ", ".join(found.kept)
        lines.append(f"in FP32, since FP16 does not hold or rounds off their numbers: {kept}")
    if found.by_flag:
        how = "; gensynth bench tells it so, trtexec by --layerPrecisions" if found.kept else ""
        lines.append(f"the file stays FP32: FP16 is a flag of TensorRT's builder{how}")
    if found.noise:
        lines.append("compare it on your own images: --images FOLDER")
    return "\n".join(wrapped(line, width) for line in lines)


def prediction_rows(some: "Sequence[Prediction]") -> list[dict[str, Any]]:
    """Return a row an image and class told of it."""
    return [
        {"image": str(one.image), "rank": rank, "class": name, "share": share}
        for one in some
        for rank, (name, share) in enumerate(zip(one.classes, one.shares, strict=True), 1)
    ]


def class_rows(found: "Validation") -> list[dict[str, Any]]:
    """Return a row a class: images, recall with its interval, precision, and what it was taken for.

    Shares are in percent.
    """
    rows = []
    for one, given in zip(found.classes, found.confusion, strict=True):
        low, high = one.recall_interval or (None, None)
        row = {
            "class": one.name,
            "images": one.n,
            "correct": one.correct,
            "recall_pct": _pct(one.recall),
            "low_pct": _pct(low),
            "high_pct": _pct(high),
            "precision_pct": _pct(one.precision),
            **{f"as {name}": count for name, count in zip(found.names, given, strict=True)},
        }
        rows.append(row)
    return rows


def validation_document(found: "Validation") -> dict[str, Any]:
    """Return all of it as JSON values; shares are in percent."""
    low, high = found.score.bounds()
    return {
        "file": str(found.file),
        "folder": str(found.folder),
        "n": found.score.n,
        "top1_pct": 100 * found.score.value,
        "interval_pct": [100 * low, 100 * high],
        "top5_pct": found.top5 and 100 * found.top5.value,
        "classes": class_rows(found),
        "confusion": [list(row) for row in found.confusion],
    }


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.2f} %"


def _pct(share: float | None) -> float | None:
    return None if share is None else 100 * share
