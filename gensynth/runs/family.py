"""More networks of a learned generator, without a new search.

A seed's graph follows from generator.json and the prototype's graph alone, byte for byte.
Each network stands in RUN/generated/SEED, and is not made twice. `family_training` trains them.

Other requirements can be asked of a learned generator, as far as it has learned: it obeys any limit
on a cost, and what is predicted of its networks rests on those that the run has trained. Below the
least of them nothing is drawn. Networks under a limit of their own stand beside the others, in
RUN/generated/macs-8000000-SEED.
"""

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gensynth.atomic_files import json_bytes
from gensynth.config import RunConfig
from gensynth.errors import ConfigError, RunError, UnreachableError
from gensynth.goals import metrics
from gensynth.goals.certificate import Certificate
from gensynth.goals.relative import settled_texts
from gensynth.goals.requirements import Requirement, cost_limits, parse
from gensynth.goals.score import Score
from gensynth.goals.verdicts import Verdict, combine, judge_all
from gensynth.graph.activations import peak_mib
from gensynth.graph.files import GRAPH_FILE
from gensynth.graph.graph import Graph, Selection
from gensynth.network.files import read_graph
from gensynth.outside import read_text
from gensynth.progress import SILENT, Listener
from gensynth.run_files import (
    GENERATED,
    GENERATOR_FILE,
    INQUISITOR_FILE,
    PROTOTYPE,
    is_finished,
)
from gensynth.runs.folder import RunFolder
from gensynth.runs.hardware.opening import tables_of
from gensynth.runs.inputs import config_of, reference_of
from gensynth.runs.plan import goals_of
from gensynth.runs.state_files import LEARNED
from gensynth.search.cycle import Interval
from gensynth.search.evolution import median_distance
from gensynth.search.generator import FORM, Generator
from gensynth.search.inquisitor import FULL, Inquisitor
from gensynth.space.coupling import couple
from gensynth.space.points import Points
from gensynth.space.space import Space
from gensynth.tasks import open_task

DRAWN_FILE = "drawn.json"


@dataclass(frozen=True)
class Drawn:
    """One network that a seed gave.

    Attributes:
        seed: s.
        folder: its files.
        graph_sha256: of graph.json.
        costs: by name.
        predicted: score after full distillation.
        verdicts: by requirement; of the predicted score, or certified once it is distilled.
        certificate: of the test split; None before it is distilled.
        search_score: on the search split; None before it is distilled.
        point_verdicts: by requirement, of the point values; None before it is distilled.
    """

    seed: int
    folder: Path
    graph_sha256: str
    costs: Mapping[str, float]
    predicted: Interval
    verdicts: Mapping[str, Verdict]
    certificate: Certificate | None = None
    search_score: Score | None = None
    point_verdicts: Mapping[str, Verdict] | None = None

    @property
    def verdict(self) -> Verdict:
        """Of all requirements together, as predicted or certified."""
        return combine(self.verdicts.values())


@dataclass(frozen=True)
class Family:
    """The networks of some seeds.

    Attributes:
        path: of the folder that holds them.
        drawn: one a seed, in the order asked for.
        architectures: how many of them differ in widths, blocks or substitutes, and not only in
            which channels they keep.
        median_distance: median over pairs of the mean absolute difference of relative
            widths, in [0, 1]; None for fewer than two networks.
        satisfied, judged: how many distilled networks meet 1_r by their point values on the
            test split, of how many; None if they were not distilled. Requirements on a device
            are left out, nothing is timed here.
        share_lower_bound: that the share of all seeds meeting 1_r exceeds, at one-sided 95 %
            (Wilson), the seeds taken as independent draws.
    """

    path: Path
    drawn: tuple[Drawn, ...]
    architectures: int
    median_distance: float | None
    satisfied: int | None = None
    judged: int | None = None
    share_lower_bound: float | None = None


def generate(
    path: str | Path,
    seeds: Iterable[int],
    *,
    requirements: Iterable[str] = (),
    listener: Listener = SILENT,
) -> Family:
    """Draw networks from the generator of a finished run.

    Args:
        path: of the run folder.
        seeds: one network each; the same seed twice counts once.
        requirements: in place of the run's on the same metrics, such as "macs <= 8M".
        listener: hears of the progress.

    Raises:
        RunError: if there is no finished run, another process works on it, or its generator
            is damaged.
        PrototypeError: if the kept prototype graph is damaged.
        ConfigError: if a requirement cannot be read, is on a device, or is on another quality.
        UnreachableError: if it is less than the run has learned of, with the way on.
    """
    with open_finished(Path(path)) as run:
        return draw(run, list(dict.fromkeys(seeds)), listener, asked_of(run.path, requirements))


def open_generator(path: Path) -> tuple[Generator, Inquisitor]:
    """Return the generator of a finished run, and the inquisitor that predicts its networks.

    Raises:
        RunError, PrototypeError: if a file is absent or damaged.
    """
    graph = read_graph(path / PROTOTYPE / GRAPH_FILE)
    try:
        text = read_text(path / GENERATOR_FILE)
        document = FORM.read(text)
        space = Space(couple(graph), document["align"], document.get("operators", ()))
        space = tables_of(path, space)
        learned = LEARNED.read(read_text(path / INQUISITOR_FILE))
        inquisitor = Inquisitor.from_document(learned["inquisitor"], space)
        return Generator.from_json(text, space), inquisitor
    except OSError as error:
        raise RunError(f"the generator of {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"the generator of {path} is damaged: {error}") from error


def open_finished(path: Path) -> RunFolder:
    """Return a finished run, locked.

    Raises:
        RunError: if there is none, or another process works on it.
    """
    run = RunFolder.open(path)
    if not is_finished(path):
        run.close()
        raise RunError(
            f"the run in {path} is not finished, so its generator is not; go on with: "
            f"gensynth synth --resume {path}"
        )
    return run


def asked_of(path: Path, requirements: Iterable[str]) -> RunConfig:
    """Return a run's configuration with other requirements in place of those on the same metrics.

    Raises:
        ConfigError: if one cannot be read, or is on a device.
    """
    config = config_of(path)
    new = settled_texts(requirements, reference_of(path))
    read = list(map(parse, new))
    if on_device := next((one for one in read if one.of == "device"), None):
        raise ConfigError(
            f'"{on_device}" cannot be asked of a learned generator; search for it: gensynth synth '
            f"--from {shlex.quote(str(path))} --require {shlex.quote(on_device.text)} --out FOLDER"
        )
    metrics_asked = {one.metric for one in read}
    kept = [text for text in config.requirements if parse(text).metric not in metrics_asked]
    return replace(config, requirements=(*kept, *new))


def draw(
    run: RunFolder, seeds: list[int], listener: Listener, config: RunConfig | None = None
) -> Family:
    """Write the networks of some seeds into a finished run, and return them.

    Args:
        run: that is finished.
        seeds: one network each.
        listener: hears of the progress.
        config: of the run, with what is asked of its networks now, see `asked_of`.

    Raises:
        RunError, PrototypeError: as `open_generator`.
        UnreachableError: if less is asked than the run has learned of.
    """
    listener.phase("generate")
    if not seeds:
        return Family(run.path / GENERATED, (), 0, None)
    generator, inquisitor = open_generator(run.path)
    config = config or config_of(run.path)
    metric = open_task(config.task).metric
    requirements, _ = goals_of(config, metric)
    tighter = _tighter(generator, cost_limits(requirements))
    _check_learned(run.path, inquisitor, tighter)
    generator = replace(generator, limits={**generator.limits, **tighter})
    start = "".join(f"{name}-{limit:.0f}-" for name, limit in sorted(tighter.items()))
    points = generator.points(seeds)
    drawn, architectures = [], set()
    for index, seed in enumerate(seeds):
        graph = generator.graph(points, index, seed)
        architectures.add(architecture(graph.selection))
        drawn.append(
            _drawn(
                run,
                f"{start}{seed}",
                seed,
                graph,
                points.take([index]),
                inquisitor,
                metric,
                requirements,
            )
        )
        listener.progress("networks", (index + 1) / len(seeds), f"seed {seed}")
    distance = median_distance(generator, points) if len(seeds) > 1 else None
    return Family(run.path / GENERATED, tuple(drawn), len(architectures), distance)


def _tighter(generator: Generator, limits: Mapping[str, int]) -> dict[str, float]:
    """Return the limits that are below those which a generator obeys already."""
    known = generator.limits
    return {name: float(n) for name, n in limits.items() if n < known.get(name, math.inf)}


def _check_learned(path: Path, inquisitor: Inquisitor, limits: Mapping[str, float]) -> None:
    """Refuse limits below all networks that a run has trained: of such it can predict nothing."""
    space = inquisitor.space
    seen = space.points([observation.point for observation in inquisitor.observations])
    costs = [space.named_costs(seen, index) for index in range(len(seen))]
    for name, limit in limits.items():
        least = min((one[name] for one in costs), default=math.inf)
        if limit < least:
            raise UnreachableError(
                f"{name} <= {limit:,.0f} is less than this run has learned of, whose smallest "
                f"network has {least:,.0f}; search from what it knows: gensynth synth --from "
                f"{shlex.quote(str(path))} --require '{name} <= {limit:.0f}' --out FOLDER"
            )


def architecture(selection: Selection) -> object:
    """Return what networks of one architecture have in common: how many channels, not which."""
    widths = frozenset((group, len(kept)) for group, kept in selection.kept.items())
    return widths, frozenset(selection.removed), frozenset(selection.substitutes.items())


def _drawn(
    run: RunFolder,
    name: str,
    seed: int,
    graph: Graph,
    point: Points,
    inquisitor: Inquisitor,
    metric: str,
    requirements: tuple[Requirement, ...],
) -> Drawn:
    """Write a network's graph and what is known of it, if it is not there already."""
    predicted = inquisitor.interval(point, FULL)
    costs = inquisitor.space.named_costs(point)
    exact = {**costs, metrics.PEAK.name: peak_mib(graph)}
    drawn = Drawn(
        seed=seed,
        folder=run.path / GENERATED / name,
        graph_sha256=graph.sha256,
        costs=costs,
        predicted=predicted,
        verdicts=judge_all(requirements, {metric: (predicted[0], predicted[2])}, exact),
    )
    document = {
        "seed": seed,
        "graph_sha256": graph.sha256,
        **costs,
        f"predicted_{metric}_pct": [100 * p for p in predicted],
        "verdicts": drawn.verdicts,
    }
    files = {GRAPH_FILE: graph.to_json().encode(), DRAWN_FILE: json_bytes(document)}
    if not has_files(drawn.folder, files):
        run.write_folder(f"{GENERATED}/{name}", files)
    return drawn


def has_files(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether a folder has these files already, byte for byte."""
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == content
        for name, content in files.items()
    )
