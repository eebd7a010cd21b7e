"""A prototype, a data set and a task given as Python objects, in place of names in a run file.

A run that began with objects keeps "object:NAME" where a name would stand: its folder alone cannot
make them again, so whoever goes on with it gives them again.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from gensynth.config import RunConfig
from gensynth.data.dataset import Dataset
from gensynth.data.torch_dataset import as_dataset
from gensynth.errors import ConfigError
from gensynth.tasks import checked, open_task
from gensynth.tasks.task import Task

OBJECT = "object:"


@dataclass(frozen=True)
class Objects:
    """What was given.

    Attributes:
        prototype: a trained module; it is not changed. None where a name stands in the run file.
        dataset, task: likewise.
    """

    prototype: nn.Module | None = None
    dataset: Dataset | None = None
    task: Task | None = None

    @classmethod
    def of(cls, prototype: nn.Module | None, dataset: Any, task: Task | None = None) -> Self:
        """Return what was given, a data set as PyTorch has them made one of ours.

        Raises:
            DataError: if it cannot be read as one, see `gensynth.data.torch_dataset`.
        """
        return cls(prototype, None if dataset is None else as_dataset(dataset), task)

    def named(self, config: RunConfig) -> RunConfig:
        """Return the configuration that says where objects stand for names.

        Raises:
            ConfigError: if the run file asks for another prototype beside the module.
        """
        if self.prototype is not None:
            if config.prototype.train:
                raise ConfigError(
                    "a prototype given as a module is trained already; drop train from "
                    "[prototype], or give the function that makes it, as module:factory, to have "
                    "it trained"
                )
            name = OBJECT + type(self.prototype).__name__
            config = replace(config, prototype=replace(config.prototype, network=name))
        if self.dataset is not None:
            name = OBJECT + self.dataset.name
            config = replace(config, data=replace(config.data, source=name))
        if self.task is not None:
            name = OBJECT + type(self.task).__name__
            config = replace(config, task=replace(config.task, kind=name))
        return config

    def open_task(self, config: RunConfig) -> Task:
        """Return the task that was given, or the one that the run file names.

        Raises:
            ConfigError: if there is none, or it lacks a part.
        """
        if self.task is None:
            return open_task(config.task)
        return checked(self.task, type(self.task).__name__)

    def check(self, config: RunConfig) -> None:
        """Refuse a configuration that stands for objects which are not there.

        Raises:
            ConfigError: saying how to give them.
        """
        for what, name, given in (
            ("prototype", config.prototype.network, self.prototype),
            ("dataset", config.data.source, self.dataset),
            ("task", config.task.kind, self.task),
        ):
            if name.startswith(OBJECT) and given is None:
                raise ConfigError(
                    f"the {what} of this run is a Python object, which its folder cannot make "
                    "again; give it from Python: gensynth.resume(RUN, prototype=module, "
                    "dataset=dataset, task=task)"
                )


NOTHING = Objects()
"""Everything is named."""
