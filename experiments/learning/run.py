"""Run one search seed of the learning experiment, every arm, resumably.

    python -m experiments.learning.run --data FOLDER --seed 0

appends to experiments/learning/results/seed-0.jsonl; started again it goes on where it was
stopped. `report.py` makes the tables and curves. Arms, 24 evaluations each unless said:

    fixed       24 networks of an untrained generator (once, for all seeds)
    far         24 with widths and blocks drawn at random, and channels ranked by the
                prototype's responses (once, for all seeds)
    loop        generator and inquisitor, as `gensynth synth` runs them
    permuted    the same loop, the responses of each network, of the prototype too, permuted over
                the channels of a group
    random      widths and blocks drawn at random, channels ranked by weight magnitude
    G0          held-out seeds of the first generator of the loop: 8, and 16 more for those who
                would only search among them
    GK          the same 8 of the last generator
    family, permuted family    the 8 networks that a loop delivers

With --learn-weights, after these and beside them: "W learns" is the loop whose shared weights
take over a share of each cycle's training, as those of a run do, and "W learns family" what it
delivers from them. It is no arm of the comparison: its networks begin from trained slices.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.learning.setting import (
    ABSORB,
    EVALUATIONS,
    FAMILY,
    FIXED,
    HERE,
    WARMUP,
    Record,
    Setting,
    add_environment,
    evaluate,
    open_setting,
    score,
)
from gensynth.graph.graph import Graph
from gensynth.network.module import Network
from gensynth.probing.probe import Probe, Responses
from gensynth.randomness import stream
from gensynth.search.cycle import State
from gensynth.search.evolution import pairwise
from gensynth.search.generator import Generator
from gensynth.search.inquisitor import SHORT, Inquisitor
from gensynth.search.regression import sigmoid
from gensynth.search.synthesis import initialise, run_cycle
from gensynth.search.theta import Theta
from gensynth.space.points import Points

FIXED_SEED = 10_000
HELD_OUT = 1_000_000


class PermutedProbe:
    """A probe whose answers are true of a group and false of its channels."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def divergence(self, network: Network) -> float:
        """Pass a network's divergence on: it is no response of a channel."""
        return self._probe.divergence(network)

    def __call__(self, network: Network, seed: int) -> Responses:
        """Probe, and give each channel of a group another's answer."""
        responses = self._probe(network, seed)
        shuffled = []
        for g, nats in enumerate(responses.channel_nats):
            values = nats.copy()
            present = np.flatnonzero(np.isfinite(values))
            values[present] = values[stream(seed, "permuted", g).permutation(present)]
            shuffled.append(values)
        return replace(responses, channel_nats=tuple(shuffled))


def run_loop(setting: Setting, record: Record, arm: str, probe: Any) -> State:
    """Run the cycles that the record does not have yet, and return the last state."""
    keep = record.path.with_name(f"{record.path.stem}-{arm.replace(' ', '-')}.state.json")
    state = initialise(setting.settings, setting.evaluator, probe, setting.space)
    first = state
    if keep.exists():
        state = _state(json.loads(keep.read_text()), state, setting)
        if setting.settings.reptile_rate:
            kept = load_file(keep.with_suffix(f".{state.cycle}.safetensors"))
            state = replace(state, weights=kept)
    while state.cycle < EVALUATIONS:
        before = state
        networks: list[Network] = []
        evaluator: Any = _Remembering(setting.evaluator, networks)
        cycle = run_cycle(setting.settings, evaluator, probe, state)
        state = cycle.after
        known = record.of(arm)[before.cycle :]
        if not known:
            line = score(setting, networks[-1])  # those before it were probed only, untrained
            if line["decide"] != cycle.score.to_document()["correct"]:
                raise RuntimeError(f"cycle {cycle.number} scored another network than it trained")
            mean, sd = before.inquisitor.predict(cycle.chosen.points, SHORT)
            line |= {"cycle": cycle.number, "seed": cycle.chosen.seed, "utility": cycle.utility}
            line |= {"logit": float(mean[0]), "sd": float(sd[0]), "seconds": cycle.seconds}
            line |= {"family_utility": cycle.outlook.utility}
            line |= {"curvature": cycle.after.inquisitor.importance.curvature}
            for unseen in ("fixed", "far"):
                line[unseen] = _predictions(setting, state.inquisitor, unseen)
            record.add(arm, line)
        elif (known[0]["graph"], known[0]["decide"]) != (
            cycle.chosen.graph.sha256,
            cycle.score.to_document()["correct"],
        ):
            # Recorded by a job that was killed before it kept the state.
            raise RuntimeError(f"cycle {cycle.number} is not what {record.path} has of it")
        if setting.settings.reptile_rate:  # before the state that names them
            save_file(state.weights, keep.with_suffix(f".{state.cycle}.safetensors"))
        partial = keep.with_suffix(".partial")
        partial.write_text(json.dumps(_document(state)))
        partial.replace(keep)
        keep.with_suffix(f".{state.cycle - 1}.safetensors").unlink(missing_ok=True)
        print(f"{arm} {state.cycle}/{EVALUATIONS}: {record.of(arm)[-1]['score']}", flush=True)
    return replace(state, anchor=first.generator.theta)


def run_seeds(
    setting: Setting,
    record: Record,
    arm: str,
    generator: Generator,
    seeds: list[int],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Evaluate one network a seed, slices of W_0 unless other weights are given."""
    for seed in seeds[len(record.of(arm)) :]:
        _, line = evaluate(setting, generator.generate(seed), weights)
        record.add(arm, {"seed": seed, **line})
        print(f"{arm} {len(record.of(arm))}/{len(seeds)}: {line['score']}", flush=True)


def run_graphs(setting: Setting, record: Record, arm: str, graphs: list[Graph]) -> None:
    """Evaluate one network a graph."""
    for graph in graphs[len(record.of(arm)) :]:
        record.add(arm, evaluate(setting, graph)[1])
        print(f"{arm} {len(record.of(arm))}/{len(graphs)}", flush=True)


def delivered(setting: Setting, state: State) -> list[int]:
    """Return the seeds a loop delivers: best lower confidence bound, all distinct."""
    seeds = [int(s) for s in stream(setting.settings.seed, "delivered").integers(0, 2**31, 256)]
    points = state.generator.points(seeds)
    mean, sd = state.inquisitor.predict(points, SHORT)
    costs = setting.space.costs(points)
    utility = setting.settings.objective.utilities(sigmoid(mean - sd), costs)
    distances = pairwise(setting.space.relative(points))
    chosen: list[int] = []
    for index in np.argsort(-utility, kind="stable"):
        if all(distances[index, other] >= 0.02 for other in chosen):
            chosen.append(int(index))
    return [seeds[index] for index in chosen[:FAMILY]]


def random_graphs(
    setting: Setting, seed: int, purpose: str, ranking: tuple[np.ndarray, ...]
) -> Iterator[Graph]:
    """Yield networks of random widths and blocks under the limits.

    Log-gains of groups and blocks are normal with standard deviation 1, so shapes vary far
    more than any generator's; the descent to the limits is the same as everywhere.

    Args:
        setting: of any seed.
        seed: of the draws.
        purpose: of the draws.
        ranking: for each group, what its channels are kept by, the greatest first.
    """
    space = setting.space
    for index in range(EVALUATIONS):
        draw = stream(seed, purpose, index)
        theta = Theta(
            u=ranking,
            offset=draw.normal(0, 1, len(space.sizes)),
            block=draw.normal(0, 1, len(space.coupling.blocks)),
            directions=np.zeros((len(space.sizes) + len(space.coupling.blocks), 1)),
            direction_scale=np.zeros(1),
            sharpness=0.0,
            curvature=1.0,
        )
        yield Generator(space, theta, setting.settings.limits).generate(index)


def magnitudes(setting: Setting) -> tuple[np.ndarray, ...]:
    """Return, for each group, each filter's place by its L1 norm, the smallest 0.

    The norms themselves lie so close together that what breaks a generator's near ties would
    shuffle them.
    """
    prototype = setting.evaluator.prototype
    keys = [prototype.graph[group.name].tensor_key("weight") for group in prototype.coupling.groups]
    return tuple(
        prototype.weights[key].abs().flatten(1).sum(dim=1).argsort().argsort().double().numpy()
        for key in keys
    )


def _predictions(setting: Setting, inquisitor: Inquisitor, arm: str) -> list[float]:
    """Return predicted logit accuracies of the networks that no inquisitor is trained on."""
    lines = Record(FIXED).of(arm)
    points = Points(
        np.array([line["widths"] for line in lines]), np.array([line["bits"] for line in lines])
    )
    return [round(float(m), 5) for m in inquisitor.predict(points, SHORT)[0]]


class _Remembering:
    """An evaluator that also keeps the network it trained, to score it."""

    def __init__(self, evaluator: Any, networks: list[Network]) -> None:
        self._evaluator, self._networks = evaluator, networks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evaluator, name)

    def inherit(self, graph: Graph, weights: Any) -> Network:
        network = self._evaluator.inherit(graph, weights)
        self._networks.append(network)
        return network


def _document(state: State) -> dict[str, Any]:
    return {
        "cycle": state.cycle,
        "generator": state.generator.to_json(),
        "inquisitor": state.inquisitor.to_document(),
        "price": state.penalty,
    }


def _state(document: dict[str, Any], first: State, setting: Setting) -> State:
    return replace(
        first,
        cycle=document["cycle"],
        generator=Generator.from_json(document["generator"], setting.space),
        inquisitor=Inquisitor.from_document(document["inquisitor"], setting.space),
        penalty=document["price"],
    )


def evaluate_fixed(folder: Path) -> None:
    """Evaluate the networks that are in no arm, those that are not recorded yet."""
    record = Record(FIXED)
    if len(record.of("fixed")) == len(record.of("far")) == EVALUATIONS:
        return
    setting = open_setting(folder, FIXED_SEED)
    add_environment(record)
    first = initialise(setting.settings, setting.evaluator, setting.probe, setting.space)
    generator = first.generator
    run_seeds(setting, record, "fixed", generator, list(range(EVALUATIONS)))
    # The far ones are recorded with draws of this purpose.
    far = list(random_graphs(setting, FIXED_SEED, "fixed", generator.theta.u))
    run_graphs(setting, record, "far", far)


def main() -> None:
    """Run what is missing of one seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of CIFAR-10's binary files"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-fixed", action="store_true")
    parser.add_argument("--learn-weights", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    evaluate_fixed(options.data)
    if options.only_fixed:
        return
    setting = open_setting(options.data, options.seed)
    record = Record(HERE / "results" / f"seed-{options.seed}.jsonl")
    add_environment(record)
    state = run_loop(setting, record, "loop", setting.probe)
    held_out = [HELD_OUT + i for i in range(EVALUATIONS)]
    first = replace(state.generator, theta=state.anchor)
    run_seeds(setting, record, "G0", first, held_out)
    run_seeds(setting, record, "GK", state.generator, held_out[:FAMILY])
    run_seeds(setting, record, "family", state.generator, delivered(setting, state))
    graphs = list(random_graphs(setting, options.seed, "random", magnitudes(setting)))
    run_graphs(setting, record, "random", graphs)
    permuted = run_loop(setting, record, "permuted", PermutedProbe(setting.probe))
    run_seeds(setting, record, "permuted family", permuted.generator, delivered(setting, permuted))
    if not options.learn_weights:
        return
    search = replace(setting.settings.search, learn_weights=True, reptile_rate=ABSORB)
    learning = replace(setting.settings, search=search, warmup=WARMUP)
    setting = replace(setting, settings=learning)
    state = run_loop(setting, record, "W learns", setting.probe)
    seeds = delivered(setting, state)
    run_seeds(setting, record, "W learns family", state.generator, seeds, state.weights)


if __name__ == "__main__":
    main()
