"""A run as one call: of objects, of names, or of a run file, with what is asked laid over it.

    gensynth.synth(model, dataset, requirements=["macs <= 50%", "top1 >= prototype - 1"])
    gensynth.synth("resnet20", "cifar10", requirements="macs <= 50%", weights="r20.safetensors")
    gensynth.synth("run.toml", out="quick", settings={"search.cycles": 24})
    gensynth.synth(config)

What cannot be meant is a `gensynth.errors.ConfigError`, with the sentence that the command prints.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensynth.config import RunConfig
from gensynth.config_file import read
from gensynth.errors import ConfigError
from gensynth.front.results import ShownFamily, ShownResult
from gensynth.progress import LOGGED, Listener
from gensynth.runs import family, run
from gensynth.runs.plan import check_names
from gensynth.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

Texts = str | Iterable[str]
"""One text, or several."""


def synth(
    what: "RunConfig | nn.Module | str | Path | None" = None,
    data: Any = None,
    /,
    *,
    requirements: Texts | None = None,
    utility: str | None = None,
    devices: Texts | None = None,
    substitutes: Texts | None = None,
    weights: str | Path | None = None,
    cycles: int | None = None,
    finalists: int | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    prototype: "nn.Module | None" = None,
    dataset: Any = None,
    task: Task | str | None = None,
    listener: Listener = LOGGED,
    command: str | None = None,
) -> ShownResult:
    """Learn a generator, and leave certified finalists in a new run folder.

    Args:
        what: a trained torch module, the name of a built-in prototype or "module:factory", the
            path of a run file (TOML), or a whole configuration; None is the quickstart.
        data: a data set object, or what `[data] source` may name: a built-in data set, a folder,
            "module:factory".
        requirements: such as "macs <= 50%"; they take the place of a run file's.
        utility: "netscore", or arithmetic over metrics.
        devices: what networks are for.
        substitutes: what may stand for a dense convolution.
        weights: of a named prototype, a file.
        cycles: in which the generator learns.
        finalists: networks that are distilled and certified.
        epochs: of a finalist's distillation.
        seed: all of the run's randomness follows from it.
        out: the run folder; None takes the first free one of runs/.
        settings: any other key of a run file, such as {"search.images": 5000}.
        prototype: a module beside a configuration, in place of `what`.
        dataset: an object beside a configuration, in place of `data`.
        task: what for, as `[task] kind` says it, such as "detection"; or a task object.
        listener: hears of the progress; by default it is logged under "gensynth".
        command: what a person types to repeat it, for the record.

    Raises:
        ConfigError: if something is given twice, or cannot be meant; before any training.
        Interrupted: on Ctrl-C, with the way on.
        GensynthError: as `gensynth.runs.run.synth`.
    """
    given = {
        "requirements": _listed(requirements),
        "utility": utility,
        "devices": _listed(devices),
        "search.substitutes": _listed(substitutes),
        "prototype.weights": None if weights is None else str(weights),
        "search.cycles": cycles,
        "finalists.count": finalists,
        "finalists.epochs": epochs,
        "seed": seed,
        "out": None if out is None else str(out),
        "task.kind": task if isinstance(task, str) else None,
        **(settings or {}),
    }
    source, given["prototype.network"], module = _prototype(what)
    given["data.source"], images = _data(data)
    prototype = _once("the prototype", module, prototype)
    dataset = _once("the data set", images, dataset)
    laid_over = {key: value for key, value in given.items() if value is not None}
    if isinstance(source, RunConfig):
        if laid_over:
            raise ConfigError(
                f"a configuration says all of a run, got {sorted(laid_over)[0]} beside it; change "
                "it by dataclasses.replace, or give a run file's path"
            )
        config = source
    else:
        config = read(source, laid_over)
    own: Any = None if isinstance(task, str) else task
    own = own() if isinstance(own, type) else own
    if own is None:
        check_names(config)
    found = run.synth(
        config, prototype=prototype, dataset=dataset, task=own, listener=listener, command=command
    )
    return ShownResult.of(found)


def resume(
    path: str | Path,
    *,
    prototype: "nn.Module | None" = None,
    dataset: Any = None,
    task: Task | None = None,
    trust: bool = False,
    listener: Listener = LOGGED,
    overrides: Mapping[str, Any] | None = None,
) -> ShownResult:
    """Go on with a run that was stopped, as `gensynth.runs.run.resume`."""
    found = run.resume(
        Path(path), prototype=prototype, dataset=dataset, task=task, trust=trust,
        listener=listener, overrides=overrides,
    )  # fmt: skip
    return ShownResult.of(found)


def generate(
    path: str | Path,
    seeds: Iterable[int] = range(8),
    *,
    requirements: Texts = (),
    listener: Listener = LOGGED,
) -> ShownFamily:
    """Draw networks from a learned generator, as `gensynth.runs.family.generate`."""
    asked = _listed(requirements) or ()
    found = family.generate(path, seeds, requirements=asked, listener=listener)
    return ShownFamily.of(found)


def _prototype(
    what: "RunConfig | nn.Module | str | Path | None",
) -> "tuple[RunConfig | Path | None, str | None, nn.Module | None]":
    """Return (a configuration or a run file, the prototype's name, the prototype itself)."""
    if what is None or isinstance(what, RunConfig):
        return what, None, None
    if isinstance(what, Path) or (isinstance(what, str) and what.endswith(".toml")):
        return Path(what), None, None
    if isinstance(what, str):
        return None, what, None
    from torch import nn

    if isinstance(what, nn.Module):
        return None, None, what
    raise ConfigError(
        "a run begins from a torch module, a name, a run file or a RunConfig, got "
        f"{type(what).__name__}"
    )


def _data(data: Any) -> tuple[str | None, Any]:
    """Return (what a run file would name, the data set itself)."""
    return (str(data), None) if isinstance(data, str | Path) else (None, data)


def _once(what: str, one: Any, other: Any) -> Any:
    if one is not None and other is not None:
        raise ConfigError(f"{what} is given twice; leave one of them out")
    return other if one is None else one


def _listed(texts: Texts | None) -> Sequence[str] | None:
    if texts is None or isinstance(texts, str):
        return None if texts is None else [texts]
    return list(texts)
