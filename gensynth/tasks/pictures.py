"""Answers as pictures: a colour a class, and an image beside its truth and what networks answer.

colours    a distinct colour for each class; those of PASCAL VOC, black left out
coloured, outlined    masks, or boxes, over an image
side_by_side    image, truth and answers in a row, the classes' names below
"""

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

DRAWN = 4
"""Images of a split that are drawn."""

MIXED = 0.6
"""Share of a class's colour over the image."""

LINE = 16
"""Height of a line of text in pixels."""
SWATCH = 10
GAP = 4
PAPER, INK = (255, 255, 255), (0, 0, 0)

Show = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Pixels (height, width, 3), an answer, and the classes' colours (classes, 3) -> pixels."""


def colours(count: int) -> list[tuple[int, int, int]]:
    """Return as many colours, no two alike for up to 255, none of them black.

    The bits of the number, from the least on, are dealt to red, green and blue in turns, each from
    its highest bit down (Everingham et al., the PASCAL VOC challenge); 0 would be black.

    Example:
        >>> colours(4)
        [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    """
    found = []
    for index in range(1, count + 1):
        number, levels = index, [0, 0, 0]
        for bit in range(7, -1, -1):
            for channel in range(3):
                levels[channel] |= (number >> channel & 1) << bit
            number >>= 3
        found.append((levels[0], levels[1], levels[2]))
    return found


def drawn_images(count: int) -> np.ndarray:
    """Return which of so many images are drawn, evenly over them."""
    return np.unique(np.linspace(0, count - 1, DRAWN).round().astype(int))


def coloured(pixels: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Show a mask (height, width): a class at every pixel; what is none, as void, has no colour."""
    known = mask < len(palette)
    shown = pixels.astype(np.float32)
    shown[known] = (1 - MIXED) * shown[known] + MIXED * palette[mask[known]]
    return shown.round().astype(np.uint8)


def outlined(pixels: np.ndarray, boxes: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Show boxes (n, 5): left, top, right, bottom, class; those of no class are white.

    A line of a pixel is drawn along the outermost pixels that a box holds.
    """
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(shown)
    for *ends, kind in boxes.tolist():
        colour = tuple(palette[int(kind)].tolist()) if kind >= 0 else PAPER
        left, top, right, bottom = (round(end) for end in ends)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)
    return np.asarray(shown)


def side_by_side(
    image: np.ndarray, answers: Mapping[str, np.ndarray], classes: Sequence[str], show: Show
) -> bytes:
    """Return a PNG file: the image, then each answer over it under its name, then the legend.

    Args:
        image: (channels, height, width), uint8, grey or RGB.
        answers: that `show` shows.
        classes: their names, in order.
        show: `coloured` or `outlined`.
    """
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    palette = np.array(colours(len(classes)), np.uint8)
    panels = {"image": pixels}
    panels |= {name: show(pixels, answer, palette) for name, answer in answers.items()}
    font = ImageFont.load_default()
    height, width = image.shape[1:]
    legend = _legend(classes, font, width=len(panels) * width)
    whole = Image.new("RGB", (len(panels) * width, 2 * GAP + LINE + height + legend.height), PAPER)
    draw = ImageDraw.Draw(whole)
    for number, (name, panel) in enumerate(panels.items()):
        draw.text((number * width + GAP, GAP), _fitting(name, font, width), INK, font)
        whole.paste(Image.fromarray(np.ascontiguousarray(panel)), (number * width, GAP + LINE))
    whole.paste(legend, (0, 2 * GAP + LINE + height))
    content = io.BytesIO()
    whole.save(content, "PNG")
    return content.getvalue()


Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def _legend(classes: Sequence[str], font: Font, width: int) -> Image.Image:
    """Return swatches with names, in as many lines as they need."""
    places, left, top = [], GAP, 0
    names = [_fitting(name, font, width - SWATCH - 2 * GAP) for name in classes]
    for name in names:
        breadth = SWATCH + GAP + int(font.getlength(name)) + 3 * GAP
        if left + breadth > width and left > GAP:
            left, top = GAP, top + LINE
        places.append((left, top))
        left += breadth
    legend = Image.new("RGB", (width, top + LINE + GAP), PAPER)
    draw = ImageDraw.Draw(legend)
    for name, colour, (x, y) in zip(names, colours(len(classes)), places, strict=True):
        draw.rectangle((x, y + 2, x + SWATCH, y + 2 + SWATCH), colour, INK)
        draw.text((x + SWATCH + GAP, y), name, INK, font)
    return legend


def _fitting(name: str, font: Font, width: int) -> str:
    """Return as much of a name as fits, in letters that every font has."""
    name = name.encode("latin-1", "replace").decode("latin-1")
    while len(name) > 1 and font.getlength(name) > width - 2 * GAP:
        name = name[:-1]
    return name
