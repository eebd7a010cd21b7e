"""One's own use of generated networks: loading them as modules for one's own code."""

from pathlib import Path

from torch import nn

from gensynth.errors import RunError
from gensynth.export.metadata import reading_of
from gensynth.graph.files import CARD_FILE, GRAPH_FILE
from gensynth.network.files import load_network, read_graph
from gensynth.network.module import Network, opaque_modules
from gensynth.prototypes.plain import copied, plain, unwrapped
from gensynth.run_files import FINALISTS, is_run
from gensynth.runs.preprocess import Preprocess


def load(path: str | Path, *, prototype: nn.Module | None = None) -> Network:
    """Return a generated network as a module, in evaluation mode.

    It is a torch network: torch's own layers under the prototype's names. `network.preprocess`
    makes what it reads of files, PIL images and uint8 arrays, as its card says, and names its
    classes; it is None where there is no card. Nothing in the files is executed.

        network = gensynth.load("run/finalists/FermiNet-A")
        answers = network(network.preprocess("cat.jpg"))
        print(network.preprocess.classes[answers.argmax()])

    Args:
        path: a folder with graph.json and weights.safetensors, such as
            RUN/finalists/FermiNet-A.
        prototype: the module that the run began from; only needed where it has parts that
            gensynth cannot look into.

    Raises:
        RunError: if there is no network, or the card in the folder was written for another; for
            a run folder it names those that are in it.
        PrototypeError: if a file is damaged, or the prototype is needed and not given.
    """
    folder = Path(path)
    if is_run(folder):
        names = sorted(p.name for p in (folder / FINALISTS).glob("*") if p.is_dir())
        which = f"name one of {', '.join(names)}" if names else "it has no finalists yet"
        raise RunError(f"{folder} is a whole run; load a network of {folder}/finalists: {which}")
    carded = (folder / CARD_FILE).is_file()
    preprocess = Preprocess(reading_of(folder)) if carded else None
    opaque = None
    if prototype is not None and (folder / GRAPH_FILE).is_file():
        graph = read_graph(folder / GRAPH_FILE)
        own = unwrapped(copied(prototype), name=graph.name)
        whole = plain(own, [vertex.shape for vertex in graph.inputs], name=graph.name)
        opaque = opaque_modules(graph, whole)
    network = load_network(folder, opaque=opaque)
    network.eval()
    network.__dict__["preprocess"] = preprocess  # a part of the prototype may have this name
    return network
