"""Colours of classes, and pictures that hold any names."""

import io

import numpy as np
import pytest
from PIL import Image

from gensynth.tasks.pictures import coloured, colours, outlined, side_by_side


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
    content = side_by_side(np.zeros((3, 4, width), np.uint8), {"truth": mask}, classes, coloured)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width == 2 * width


def test_a_box_is_outlined_along_the_pixels_that_it_holds_and_one_of_no_class_is_white() -> None:
    boxes = np.array([[1, 1, 4, 5, 0], [5, 0, 7.2, 1.8, -1]])
    shown = outlined(np.zeros((6, 8, 3), np.uint8), boxes, np.array([(128, 0, 0)]))
    red, white = (shown == (128, 0, 0)).all(2), (shown == 255).all(2)
    # The first holds rows 1 to 4 of columns 1 to 3, and its line leaves two pixels inside.
    expected = np.zeros((6, 8), bool)
    expected[1:5, 1:4] = True
    expected[2:4, 2] = False
    assert np.array_equal(red, expected)
    assert np.argwhere(white).tolist() == [[0, 5], [0, 6], [1, 5], [1, 6]]
