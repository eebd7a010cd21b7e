"""Programs that stand in an artefact: they need the artefact beside them, and nothing of ours.

    example_onnx.py    ONNX Runtime, numpy and pillow
    example_trt.py     TensorRT on the board: builds the engine there, then runs it

Both read an image by the same lines, `read.py.txt`, and are written in Python 3.6's grammar,
the TX2's. They are text here, so that nothing takes them for a part of the package.
"""

from importlib import resources

from gensynth.export.targets import Target


def examples(name: str, target: Target) -> dict[str, bytes]:
    """Return the programs for a network's artefact by file name.

    Args:
        name: of the network.
        target: that the artefact is for.
    """
    wanted = ["example_onnx.py", *(["example_trt.py"] if target.tensorrt else [])]
    words = {
        "@READ@": _text("read.py").strip(),
        "@NAME@": name,
        "@TITLE@": target.title,
        "@PYTHON@": target.python,
    }
    programs = {}
    for file in wanted:
        text = _text(file)
        for word, value in words.items():
            text = text.replace(word, value)
        programs[file] = text.encode()
    return programs


def _text(file: str) -> str:
    found = resources.files("gensynth.export").joinpath("examples", f"{file}.txt")
    return found.read_text(encoding="utf-8")
