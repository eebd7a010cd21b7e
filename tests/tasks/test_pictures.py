"""Colours of classes, and pictures that hold any names."""

import io

import numpy as np
import pytest
from PIL import Image

from gensynth.tasks.pictures import colours, side_by_side


def test_colours_are_those_of_pascal_voc() -> None:
    # Aeroplane, bicycle, ..., TV monitor: the palette of VOC's own masks, entries 1, 2 and 20.
    found = colours(20)
    assert (found[0], found[1], found[19]) == ((128, 0, 0), (0, 128, 0), (0, 64, 128))


def test_no_two_of_255_classes_have_one_colour_and_none_is_black() -> None:
    assert len({*colours(255)} - {(0, 0, 0)}) == 255


@pytest.mark.parametrize("width", [8, 300])
def test_a_legend_of_many_long_names_in_any_script_fits_under_images_of_any_width(
    width: int,
) -> None:
    classes = [f"Straße {number}" for number in range(20)] + ["道路", "x" * 200]
    mask = np.arange(22).repeat(width)[: 4 * width].reshape(4, width)
    content = side_by_side(np.zeros((3, 4, width), np.uint8), {"truth": mask}, classes)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width == 2 * width
