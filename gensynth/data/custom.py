"""A data set of the user's own, made by a function of theirs: `module:factory`."""

from collections.abc import Mapping

from gensynth.data.dataset import Dataset
from gensynth.data.torch_dataset import as_dataset, is_torch_dataset
from gensynth.errors import DataError
from gensynth.references import import_object


def load(reference: str) -> Dataset:
    """Call the user's factory, without arguments, and return the data set it makes.

    Args:
        reference: `module:factory`.

    Raises:
        ConfigError: if there is no such module or attribute.
        DataError: if it cannot be called or does not return a data set, ours or one that
            `gensynth.data.torch_dataset` reads. What the factory
            itself raises keeps its traceback.
    """
    factory = import_object(reference, "data set")
    if not callable(factory):
        raise DataError(
            f"data set '{reference}' must be a function that returns a data set, got "
            f"{type(factory).__name__}"
        )
    made = factory()
    if not isinstance(made, Dataset | Mapping) and not is_torch_dataset(made):
        raise DataError(
            f"data set '{reference}' must return a gensynth.data.dataset.Dataset, a "
            f"torch.utils.data.Dataset or such by split, got {type(made).__name__}"
        )
    return as_dataset(made, reference.rpartition(":")[2])
