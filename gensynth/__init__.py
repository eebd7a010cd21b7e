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
      < export, bench, devices < runs < uses < render < cli

From Python:

    import gensynth
    config = gensynth.RunConfig(requirements=("top1 >= 87%", "macs <= 4M"))
    result = gensynth.synth(config)
    for finalist in result.finalists:
        print(finalist.name, finalist.certificate.point_pct, finalist.macs)
    network = gensynth.load(result.finalists[0].folder)
    family = gensynth.generate(result.path, seeds=range(50))
    prototype, network = gensynth.certify(folder)    # trained further, in the run's folder

Importing this package imports neither torch nor any of its own parts.
"""

from gensynth.links import stand_in_for_lost_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gensynth.config import RunConfig
    from gensynth.runs.certification import certify
    from gensynth.runs.family import generate
    from gensynth.runs.load import load
    from gensynth.runs.run import resume, synth

__all__ = ["RunConfig", "certify", "generate", "load", "resume", "synth"]

__version__ = "0.1.0"

stand_in_for_lost_links(__path__[0])

_HOMES = {
    "RunConfig": "gensynth.config",
    "certify": "gensynth.runs.certification",
    "generate": "gensynth.runs.family",
    "load": "gensynth.runs.load",
    "resume": "gensynth.runs.run",
    "synth": "gensynth.runs.run",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'gensynth' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
