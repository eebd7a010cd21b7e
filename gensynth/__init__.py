"""Learn to generate small neural networks that meet a stated requirement.

    run.toml        what is asked                                    config, requirements, utility
       |
    data + prototype phi                                             data, prototypes, pretrain
       |  read as a graph, its channels coupled                      trace, graph, coupling, cost
       v
    generator G(s) ----> network N ----> probe Y ----> inquisitor I  generator, network, probe,
       ^                                                   |         inquisitor, regression
       +------------- Delta theta_G, cycle by cycle -------+         synthesis, evolution
       |
       |  seeds, ranked by what I predicts of them
       v
    finalists: distilled, certified, exported, timed                 finalists, train, certify,
       |                                                             export, bench, publish
       v
    run folder: journal, generator, networks and their cards         run, record, results
       |
       +--> more networks from the same generator                    family

From Python:

    import gensynth
    config = gensynth.RunConfig(requirements=("top1 >= 87%", "macs <= 4M"))
    result = gensynth.synth(config)
    for finalist in result.finalists:
        print(finalist.name, finalist.certificate.point_pct, finalist.macs)
    network = gensynth.load(result.finalists[0].folder)
    family = gensynth.generate(result.path, seeds=range(50))

Importing this package imports neither torch nor any of its own parts.
"""

from gensynth.links import explain_lost_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gensynth.api import load
    from gensynth.config import RunConfig
    from gensynth.family import generate
    from gensynth.run import resume, synth

__all__ = ["RunConfig", "generate", "load", "resume", "synth"]

__version__ = "0.1.0"

explain_lost_links(__path__[0])

_HOMES = {
    "RunConfig": "gensynth.config",
    "generate": "gensynth.family",
    "load": "gensynth.api",
    "resume": "gensynth.run",
    "synth": "gensynth.run",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'gensynth' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
