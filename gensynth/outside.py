"""What comes from outside (files, boards, other people's folders): how much of it, and its form.

    read_bytes     a file's bytes, if it is a plain file and not too large
    is_file        whether there is a file of a name that came with them
    Form           the schema of a document: JSON or plain values in, checked values out
    within         refuse a number above a bound, with a line that names both

A document is held against its form once, where it comes in, so that nothing behind that door
has to ask again. Pydantic finds what is wrong; the sentence about it is ours. What a bound is for
stands beside it.
"""

import codecs
import errno
import json
import os
import stat
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

DOCUMENT_BYTES = 64 << 20
"""Of a document as text; the graph of a network of 10,000 vertices has 5 MiB."""
ONNX_BYTES = (2 << 30) - 1
"""Of an ONNX file: no protobuf is larger."""
WEIGHTS_BYTES = 16 << 30
SAMPLES_BYTES = 1 << 30
"""Of an artefact's sample images and outputs, unpacked."""
ELEMENTS = 1 << 27
"""Of one value of a network for one image: 64 channels of 1920 x 1080, 512 MiB as FP32."""
PARAMETERS = 1 << 34
WORK = 1 << 43
"""Multiply-accumulates and window elements of a network for one image: minutes on a processor."""
PIXELS = 1 << 26
"""Of one picture: 67 million, 192 MiB as RGB."""

BOM = codecs.BOM_UTF8

Finite = Annotated[float, Field(allow_inf_nan=False)]
Natural = Annotated[int, Field(ge=0, lt=1 << 63)]
Positive = Annotated[int, Field(gt=0, lt=1 << 63)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _file_name(name: str) -> str:
    if not 0 < len(os.fsencode(name)) < 256 or name.startswith(".") or set(name) & {"/", "\0"}:
        raise ValueError(f"must be the name of a visible file, got {name!r:.40}")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]


def _sides(given: Any) -> Any:
    """Return a size of images, a list as a tuple."""
    several = isinstance(given, list | tuple)
    sides = tuple(given) if several else (given,)
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides)
    if given is None or (whole and len(sides) == 1 + several):
        return sides if several else given
    raise ValueError(
        "size must be the side of a square in pixels, or [height, width], of 1 at least, got "
        f"{list(sides) if several else given!r}"
    )


Sides = Annotated[int | tuple[int, int] | None, BeforeValidator(_sides)]
"""A size of images: side of a square, or (height, width)."""

STRICT = ConfigDict(strict=True, allow_inf_nan=False)

_SHOWN = 40
_WORDS = {
    "a valid dictionary": "an object",
    "a valid array": "a list",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid integer": "a whole number",
    "a valid string": "text",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "List should": "must",
    "Tuple should": "must",
    " after validation": "",
}

T = TypeVar("T")


class Form(Generic[T]):
    """The schema of a document that comes from outside.

    Args:
        schema: a type that pydantic knows; strict, so that "1" is no number. What a typed
            dictionary does not list is left out.
    """

    def __init__(self, schema: type[T] | Any) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(schema)

    def read(self, content: bytes | str) -> T:
        """Return what JSON text says; a byte-order mark, with which Windows begins a file, is none.

        Raises:
            ValueError: if it is no JSON, deeper than 200, or of another form; one sentence.
        """
        text = content.removeprefix(BOM) if isinstance(content, bytes) else content
        try:
            return self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            raise ValueError(_sentence(error)) from error

    def check(self, values: Any) -> T:
        """Return plain JSON values that have been read already.

        Raises:
            ValueError: if they are of another form; one sentence.
        """
        # By way of the text, so that one form serves both: there a list is a tuple, too.
        try:
            text = json.dumps(values)
        except (TypeError, RecursionError) as error:  # TOML has dates
            raise ValueError(f"it holds what JSON cannot say: {error}") from error
        return self.read(text)


def read_bytes(path: Path, at_most: int = DOCUMENT_BYTES) -> bytes:
    """Return the bytes of a plain file.

    Raises:
        OSError: if it is none (a pipe or a device could be read for ever), is larger, or cannot
            be read; its `strerror` is the reason.
    """
    check_plain(path, at_most)
    with path.open("rb") as file:
        return file.read(at_most)


def check_plain(path: Path, at_most: int = DOCUMENT_BYTES) -> None:
    """Refuse to open what is no plain file, or is larger than so many bytes.

    Raises:
        OSError: as `read_bytes`.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it must be a plain file", str(path))
    if found.st_size > at_most:
        what = f"it must have at most {at_most:,} bytes, and has {found.st_size:,}"
        raise OSError(errno.EFBIG, what, str(path))


def read_text(path: Path, at_most: int = DOCUMENT_BYTES) -> str:
    """Return the text of a plain file in UTF-8, without the byte-order mark that it may begin with.

    Raises:
        OSError: as `read_bytes`.
        ValueError: if it is no UTF-8.
    """
    return read_bytes(path, at_most).decode("utf-8-sig")


def named_path(text: str) -> Path:
    """Return the path that a document or an option names, with the user's home in place of ~.

    Raises:
        ValueError: if no file can have this name.
    """
    longest = max((len(os.fsencode(part)) for part in text.split("/")), default=0)
    if "\0" in text or longest > 255 or len(text) > 4095:
        raise ValueError(f"no file can be named {_shown(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"this machine knows no home for {_shown(text)}") from error


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; what cannot be looked up, as a name too long, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def within(found: int, at_most: int, what: str) -> None:
    """Refuse a number above a bound.

    Args:
        what: that has so many, such as "the padding of vertex 'a'".

    Raises:
        ValueError: naming both.
    """
    if found > at_most:
        raise ValueError(f"{what} must be at most {at_most:,}, got {_count(found)}")


def _count(number: int) -> str:
    """Return a number of any length as a sentence can show it."""
    if abs(number) < 10**30:
        return f"{number:,}"
    return f"about 10^{int((number.bit_length() - 1) * 0.30103)}"


def _sentence(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    context = fault.get("ctx", {})
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part:.{_SHOWN}}" for part in fault["loc"]
    )
    place = place.removeprefix(".")
    if place == "format" and fault["type"] == "literal_error":
        return f"it has format {_shown(fault['input'])}, this version reads {context['expected']}"
    match fault["type"]:
        case "missing":
            return f"{place} is missing"
        case "json_invalid":
            return fault["msg"].removeprefix("Invalid JSON: ")
        case "value_error":
            return f"{place}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    must = fault["msg"].replace("Input should be", "must be", 1)
    for theirs, ours in _WORDS.items():
        must = must.replace(theirs, ours)
    return f"{place or 'the document'} {must}, got {_shown(fault['input'])}"


def _shown(value: Any) -> str:
    """Return a value as a sentence can show it, however large it is."""
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return f"a list of {len(value)}"
        case bool() | None:
            return str(value)
        case int():
            return _count(value)
        case str() | bytes():
            return repr(value[:_SHOWN]) + ("..." if len(value) > _SHOWN else "")
        case float():
            return repr(value)
    return type(value).__name__
