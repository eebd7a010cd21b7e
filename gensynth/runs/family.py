"""More networks of a learned generator, without a new search.

A seed's graph follows from generator.json and the prototype's graph alone, byte for byte.
Each network stands in RUN/generated/SEED, and is not made twice. `family_training` trains them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gensynth.atomic_files import json_bytes
from gensynth.errors import RunError
from gensynth.goals import metrics
from gensynth.goals.certificate import Certificate
from gensynth.goals.requirements import Requirement
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
from gensynth.runs.inputs import config_of
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


def generate(path: Path, seeds: Iterable[int], *, listener: Listener = SILENT) -> Family:
    """Draw networks from the generator of a finished run.

    Args:
        path: of the run folder.
        seeds: one network each; the same seed twice counts once.
        listener: hears of the progress.

    Raises:
        RunError: if there is no finished run, another process works on it, or its generator
            is damaged.
        PrototypeError: if the kept prototype graph is damaged.
    """
    with open_finished(path) as run:
        return draw(run, list(dict.fromkeys(seeds)), listener)


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


def draw(run: RunFolder, seeds: list[int], listener: Listener) -> Family:
    """Write the networks of some seeds into a finished run, and return them.

    Raises:
        RunError, PrototypeError: as `open_generator`.
    """
    listener.phase("generate")
    if not seeds:
        return Family(run.path / GENERATED, (), 0, None)
    generator, inquisitor = open_generator(run.path)
    config = config_of(run.path)
    metric = open_task(config.task).metric
    requirements, _ = goals_of(config, metric)
    points = generator.points(seeds)
    drawn, architectures = [], set()
    for index, seed in enumerate(seeds):
        graph = generator.graph(points, index, seed)
        architectures.add(architecture(graph.selection))
        drawn.append(
            _drawn(run, seed, graph, points.take([index]), inquisitor, metric, requirements)
        )
        listener.progress("networks", (index + 1) / len(seeds), f"seed {seed}")
    distance = median_distance(generator, points) if len(seeds) > 1 else None
    return Family(run.path / GENERATED, tuple(drawn), len(architectures), distance)


def architecture(selection: Selection) -> object:
    """Return what networks of one architecture have in common: how many channels, not which."""
    widths = frozenset((group, len(kept)) for group, kept in selection.kept.items())
    return widths, frozenset(selection.removed), frozenset(selection.substitutes.items())


def _drawn(
    run: RunFolder,
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
        folder=run.path / GENERATED / str(seed),
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
        run.write_folder(f"{GENERATED}/{seed}", files)
    return drawn


def has_files(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether a folder has these files already, byte for byte."""
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == content
        for name, content in files.items()
    )
