"""What the figures of a finished run's table must not be read without."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gensynth.goals.requirements import parse
from gensynth.goals.verdicts import Verdict
from gensynth.render.figures import duration, wrapped
from gensynth.render.flags import told

if TYPE_CHECKING:
    from gensynth.runs.result import Finalist, Result


def notes(result: "Result", width: int) -> Iterator[str]:
    """Yield what a figure of the table must not be read without."""
    lines: list[str] = []
    finalists = result.finalists
    lines += certified(finalists)
    lines += [
        f'"{text}" is held against the prototype on the search split; on the test images the '
        f"prototype itself has {result.prototype.certificate.point_pct:.2f} %, and misses it"
        for text, verdict in result.prototype.point_verdicts.items()
        if verdict is Verdict.VIOLATED
        and parse(text).points is not None
        and text not in result.prototype.by_difference
    ]
    lines.append(
        "parameters: all that training changes, norms with them; an ONNX file has norms folded "
        "into its weights, and bench counts those of the file"
    )
    timed = [f.latency for f in [result.prototype, *finalists] if f.latency]
    if timed:
        one = timed[0]
        threads = "1 thread" if one.threads == 1 else f"{one.threads} threads"
        lines.append(
            f"latency: device {one.device}, {one.runtime}, {threads}, batch {one.batch}, "
            f"n = {one.n} each, in turns"
        )
    for flag in dict.fromkeys(flag for latency in timed for flag in latency.flags):
        names = [
            f.name for f in [result.prototype, *finalists] if f.latency and flag in f.latency.flags
        ]
        lines.append(f"latency of {', '.join(names)}: {told(flag)}")
    lines += [
        f"{one.name} has no ONNX file: {one.no_onnx_because}"
        for one in [result.prototype, *finalists]
        if one.no_onnx_because is not None
    ]
    phases = _phases(result)
    if phases:
        parts = ", ".join(f"{phase} {duration(s)}" for phase, s in phases.items() if s >= 1)
        lines.append(f"wall time: {duration(sum(phases.values()))}" + (parts and f" ({parts})"))
    if lines:
        yield "\n".join(wrapped(line, width) for line in lines)
    if verdict := list(decided(finalists)):
        yield "\n".join(wrapped(line, width) for line in verdict)
    missed = [f.name for f in finalists if Verdict.VIOLATED in f.point_verdicts.values()]
    if missed:
        miss = "misses" if len(missed) == 1 else "miss"
        yield wrapped(
            f"{', '.join(missed)} {miss} a requirement by point value; more cycles, a longer "
            "distillation (--epochs) or looser requirements may help",
            width,
        )


def certified(networks: Sequence["Finalist"]) -> Iterator[str]:
    """Yield what the certificates are worth, a line for each number that share a confidence."""
    limited = [f for f in networks if f.certificate.requirement is not None]
    shared = dict.fromkeys(f.certificate.sharing for f in limited)
    for sharing in shared:
        those = [f for f in limited if f.certificate.sharing == sharing]
        of = f" of {', '.join(f.name for f in those)}" * (len(shared) > 1)
        methods = " and ".join(dict.fromkeys(method for f in those for method in _methods(f)))
        bounds = f"one-sided {methods} bound" + "s" * (sharing > 1)
        together = f", true of {sharing} networks together" * (sharing > 1)
        level = f"{100 * those[0].certificate.confidence:g} %"
        yield f"certified{of}: {bounds}{together} at {level}"
    for text in dict.fromkeys(text for f in networks for text in sorted(f.by_difference)):
        yield (
            "paired: by the points gained over the prototype on the same test images; what the "
            f'search strove for on its own images was "{text}"'
        )
    for device, precision in (networks[0].rounded if networks else {}).items():
        yield (
            f"scores are of FP32, and {device} computes in {precision.upper()}: how far that is "
            f"apart says gensynth export, and gensynth verify there"
        )
    for one in networks:
        if one.trained_further:
            yield (
                f"{one.name} was trained further outside gensynth; the test split has judged "
                f"{one.certificate.sharing} networks"
            )


def _methods(network: "Finalist") -> Iterator[str]:
    """Yield what the bounds that decide are by."""
    if is_by_score(network):
        yield network.certificate.score.method
    if network.by_difference and network.difference is not None:
        yield network.difference.method


def decided(networks: Sequence["Finalist"]) -> Iterator[str]:
    """Yield a line where no network is shown to meet what is required."""
    verdicts = {f.verdict for f in networks}
    if verdicts == {Verdict.VIOLATED}:
        yield "every network violates a requirement"
    elif verdicts and Verdict.SATISFIED not in verdicts:
        yield "no network is shown to meet every requirement, and not all are shown to miss one"


def _phases(result: "Result") -> dict[str, float]:
    """Return the wall time of every phase, without the parts of one ("finalists train")."""
    whole = {name.partition(" ")[0] for name in result.seconds} & result.seconds.keys()
    return {
        name: seconds
        for name, seconds in result.seconds.items()
        if name in whole or name.split()[0] not in whole
    }


def is_by_score(network: "Finalist") -> bool:
    """Return whether the score's own bound decides something, and is certified then."""
    required = network.certificate.requirement
    if required is None:
        return False
    return network.certificate.claims > 1 or required.text not in network.by_difference
