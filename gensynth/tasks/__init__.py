"""What networks are trained for.

    task                 Task: what a task is asked
    classification       one class an image
    segmentation         one class a pixel; `confusion` counts them and reads the counts
    pictures             masks as pictures, for people
    label_information    what the values of a vertex say of the labels

`open_task` reads the table [task] of a run file. Importing this package does not import torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gensynth.config import TaskConfig
    from gensynth.tasks.task import Task


def open_task(config: "TaskConfig") -> "Task":
    """Return the task that a run file names."""
    if config.kind == "segmentation":
        from gensynth.tasks.segmentation import Segmentation

        return Segmentation(config.class_weights, config.metric)
    from gensynth.tasks.classification import Classification

    return Classification(config.class_weights, config.metric)
