"""Learn to generate small neural networks that meet a stated requirement.

    run.toml        what is asked                                    config_file, goals
       |
    data + prototype phi                                             data, prototypes, training
       |  read as a graph, its channels coupled                      trace, graph, space
       v
    generator G(s) ----> network N ----> probe Y ----> inquisitor I  search, network, probing
       ^                                                   |
       +------------- Delta theta_G, cycle by cycle -------+
       |
       |  seeds, ranked by what I predicts of them
       v
    finalists: distilled, certified, exported, timed                 runs, training, export, bench
       |
       v
    run folder: journal, generator, networks and their cards         runs, render
       |
       +--> more networks from the same generator                    runs.family
       +--> answers to other images                                  uses

The rooms, the lower never importing the higher; each opens with a map of itself:

    graph < network < trace, prototypes < space, data < goals < tasks < training < probing < search
      < export, bench, devices < runs < uses < render < front, cli

From Python:

    import gensynth
    result = gensynth.synth(model, dataset, requirements=["macs <= 50%", "top1 >= prototype - 1"])
    print(result)                                    # the table; result.to_frame() for pandas
    network = gensynth.load(result.finalists[0].folder)           # torch's layers, evaluation mode
    answers = network(network.preprocess("cat.jpg"))
    family = gensynth.generate(result.path, seeds=range(50), requirements="macs <= 2M")
    prototype, network = gensynth.train(result.finalists[0].folder, epochs=100)
    prototype, network = gensynth.certify(folder)    # trained further, in the run's folder
    found = gensynth.validate("net.onnx", "images")  # score, interval, confusion, every class
    config = gensynth.RunConfig(requirements=["top1 >= 87%", "macs <= 4M"])   # all of a run file

Importing this package imports neither torch nor any of its own parts.
"""

from gensynth.links import stand_in_for_lost_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gensynth.config import RunConfig
    from gensynth.front.synth import generate, resume, synth
    from gensynth.runs.certification import certify, train
    from gensynth.runs.load import load
    from gensynth.uses.predict import predict
    from gensynth.uses.val import validate

__all__ = [
    "RunConfig",
    "certify",
    "generate",
    "load",
    "predict",
    "resume",
    "synth",
    "train",
    "validate",
]

__version__ = "0.1.0"

stand_in_for_lost_links(__path__[0])

_HOMES = {
    "RunConfig": "gensynth.config",
    "certify": "gensynth.runs.certification",
    "generate": "gensynth.front.synth",
    "load": "gensynth.runs.load",
    "predict": "gensynth.uses.predict",
    "resume": "gensynth.front.synth",
    "synth": "gensynth.front.synth",
    "train": "gensynth.runs.certification",
    "validate": "gensynth.uses.val",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'gensynth' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
