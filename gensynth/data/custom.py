"""A data set of the user's own, made by a function of theirs: `module:factory`."""

from gensynth.data.dataset import Dataset
from gensynth.errors import DataError
from gensynth.references import import_object


def load(reference: str) -> Dataset:
    """Call the user's factory, without arguments, and return the data set it makes.

    Args:
        reference: `module:factory`.

    Raises:
        ConfigError: if there is no such module or attribute.
        DataError: if it cannot be called or does not return a `Dataset`. What the factory
            itself raises keeps its traceback.
    """
    factory = import_object(reference, "data set")
    if not callable(factory):
        raise DataError(
            f"data set '{reference}' must be a function that returns a "
            f"gensynth.data.dataset.Dataset, got {type(factory).__name__}"
        )
    dataset = factory()
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"data set '{reference}' must return a gensynth.data.dataset.Dataset, "
            f"got {type(dataset).__name__}"
        )
    return dataset
