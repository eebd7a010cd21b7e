"""Programs that stand in an artefact: they need the artefact beside them, and nothing of ours.

    example_onnx.py    ONNX Runtime, numpy and pillow
    example_trt.py     TensorRT on the board: builds the engine there, then runs it

Both read an image by the same lines, `read.py.txt`, and say what was answered by those of the
task, `show_class.py.txt`, `show_mask.py.txt` or `show_boxes.py.txt`, the last with `boxes.py` of
`gensynth.tasks` beside it. They are written in Python 3.6's grammar, the
TX2's, and are text here, so that nothing takes them for a part of the package.
"""

from importlib import resources

from gensynth.export.targets import Target

ANSWERS = {
    "class": "Say the class of images",
    "boxes": "Print and draw the objects in images",
    "mask": "Write the class of every pixel of images, a palette PNG each,",
}
"""What a program does, by `program` of the task (`gensynth.tasks.task`)."""


COLOURED = ("boxes", "mask")
"""Of them those that need a colour for each class."""


def examples(name: str, target: Target, answer: str | None) -> dict[str, bytes]:
    """Return the programs for a network's artefact by file name.

    Args:
        name: of the network.
        target: that the artefact is for.
        answer: of `ANSWERS`; None, of a task of one's own, has no programs.
    """
    if answer is None:
        return {}
    wanted = ["example_onnx.py", *(["example_trt.py"] if target.tensorrt else [])]
    words = {
        "@READ@": _text("read.py").strip(),
        "@SHOW@": _text(f"show_{answer}.py").strip(),
        "@ANSWER@": ANSWERS[answer],
        "@NAME@": name,
        "@TITLE@": target.title,
        "@PYTHON@": target.python,
    }
    programs = {}
    if answer == "boxes":
        programs["boxes.py"] = resources.files("gensynth.tasks").joinpath("boxes.py").read_bytes()
    for file in wanted:
        text = _text(file)
        for word, value in words.items():
            text = text.replace(word, value)
        programs[file] = text.encode()
    return programs


def _text(file: str) -> str:
    found = resources.files("gensynth.export").joinpath("examples", f"{file}.txt")
    return found.read_text(encoding="utf-8")
