"""What networks are trained for.

    task                 Task: what a task is asked
    classification       one class an image
    segmentation         one class a pixel; `confusion` counts them and reads the counts
    pictures             masks and boxes as pictures, for people
    detection            boxes with a class, however many an image has:
      detectnet            its answer on a grid of cells
      anchor_free          answers on several scales
      boxes                from maps to boxes, with numpy alone
      average_precision    COCO's evaluator, and a bootstrap of what it matched
    label_information    what the values of a vertex say of the labels

`open_task` reads the table [task] of a run file. Importing this package does not import torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gensynth.errors import ConfigError
from gensynth.goals import metrics

if TYPE_CHECKING:
    from gensynth.config import TaskConfig
    from gensynth.tasks.task import Task


MEASURED: Mapping[str, tuple[str, ...]] = {
    "classification": (
        metrics.TOP1.name,
        metrics.TOP5.name,
        metrics.SMALLEST_RECALL.name,
    ),
    "segmentation": (metrics.PIXEL_ACCURACY.name, metrics.CLASS_ACCURACY.name, metrics.MIOU.name),
    "detection": (metrics.AP50.name, metrics.MAP.name),
}
"""What a built-in task can judge by; unasked it takes the first."""


def open_task(config: "TaskConfig") -> "Task":
    """Return the task that a run file names.

    Raises:
        ConfigError: if it is of the user's own and there is none of that name, or lacks a part.
    """
    if ":" in config.kind:
        return _own(config.kind)
    if config.kind == "segmentation":
        from gensynth.tasks.segmentation import Segmentation

        return Segmentation(config.class_weights, config.metric)
    if config.kind == "detection":
        from gensynth.tasks.detection import Detection

        return Detection(config.class_weights, config.metric)
    from gensynth.tasks.classification import Classification

    return Classification(config.class_weights, config.metric)


def _own(reference: str) -> "Task":
    from gensynth.references import import_object

    if reference.startswith("object:"):
        raise ConfigError(
            f"the task of this run is a Python object, {reference}, which its folder cannot make "
            "again; name it module:MyTask, or give it from Python: gensynth.resume(RUN, task=task)"
        )
    found = import_object(reference, "task")
    return checked(found() if callable(found) else found, reference)


def checked(task: "Task", name: str) -> "Task":
    """Return a task of the user's own that has all that a task is asked for.

    Raises:
        ConfigError: naming what it lacks.
    """
    from gensynth.tasks.task import Task

    parts = [part for part in vars(Task) if not part.startswith("_")]
    missing = [part for part in parts if not hasattr(task, part)]
    if missing:
        raise ConfigError(f"task '{name}' must have {', '.join(parts)}; it lacks {missing[0]}")
    metrics.find(task.metric, f"metric of task '{name}'")
    return task
