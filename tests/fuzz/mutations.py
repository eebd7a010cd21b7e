"""What a fault or a stranger makes of good input: the same for the same random numbers.

of_bytes    bits, cuts, repeats and strange runs of bytes
of_text     words of a language put together, and the text itself damaged
of_json     a document whose values, keys and structure are odd, or whose text is
of_proto    a protobuf message whose fields are odd
"""

import copy
import json
from random import Random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64,
    10**40, 0.0, -0.0, 0.5, 1e-300, 1e300, 1e999, float("nan"), "", "a", "..", "../..",
    "/etc/passwd", "\x00", "\x1b[2J", "é", "x" * 300, "1e999", "9" * 400, "macs <= 1",
    "top1 >= 50%", [], {}, [[]], [None],
    [1, 2], [1, [2]], {"a": 1}, [[1.0], [1.0, 2.0]], "weight", "relu", "input", "float32", -(2**63),
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


def of_bytes(random: Random, content: bytes) -> bytes:
    """Return bytes that are not quite these."""
    found = bytearray(content)
    for _ in range(1 << random.randrange(4)):
        at = random.randrange(len(found) + 1)
        end = min(len(found), at + (1 << random.randrange(8)))
        match random.randrange(8):
            case 0 if found:
                found[at % len(found)] ^= 1 << random.randrange(8)
            case 1 if found:
                found[at % len(found)] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del found[at:end]
            case 3:
                found[at:at] = found[at:end]
            case 4:
                found[at:at] = random.randbytes(random.randrange(16))
            case 5:
                width = random.choice((1, 2, 4, 8))
                number = random.choice(NUMBERS) % (1 << 8 * width)
                found[at : at + width] = number.to_bytes(width, random.choice(("big", "little")))
            case 6:
                del found[at:]
            case 7:
                other = random.randrange(len(found) + 1)
                found[at:end] = found[other : other + end - at]
    return bytes(found)


def of_text(random: Random, words: tuple[str, ...], good: tuple[str, ...]) -> str:
    """Return a text of a language's words, or a good one that is damaged."""
    match random.randrange(4):
        case 0:
            return "".join(random.choice(words) for _ in range(random.randrange(1, 12)))
        case 1:
            return (random.choice(words) * (1 << random.randrange(12)))[: 1 << 15]
    parts = list(random.choice(good))
    for _ in range(1 << random.randrange(3)):
        at = random.randrange(len(parts) + 1)
        match random.randrange(3):
            case 0:
                parts[at : at + random.randrange(8)] = []
            case 1:
                parts[at:at] = random.choice(words)
            case 2:
                parts[at:at] = random.choice(
                    ("\x00", "\x1b", "\n", "é", "٣", "\u202e", "9" * 5000, '"', "'", "\\", "#")
                )
    return "".join(parts)


def of_json(random: Random, document: Any) -> bytes:
    """Return the text of a document that is not quite this one."""
    document = odd(random, document)
    text = json.dumps(document).encode()
    match random.randrange(24):
        case 0:
            return of_bytes(random, text)
        case 1:
            at = random.randrange(len(text))
            deep = random.choice((10, 300, 100_000))
            return text[:at] + b"[" * deep + b"1" + b"]" * deep + text[at:]
        case 2:
            return text.replace(b"1", b"1" + b"9" * random.choice((20, 400, 5000)), 1)
        case 3:
            return text.replace(b'"', b'"\\ud800', 1)
    return text


def odd(random: Random, document: Any) -> Any:
    """Return a document of which one to four values are odd, absent, or another's."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = _places(document)
        if not places:
            return copy.deepcopy(random.choice(STRANGE))
        holder, key = random.choice(places)
        value = holder[key]
        match random.randrange(10):
            case 0:
                del holder[key]
            case 1:
                other, its_key = random.choice(places)
                if not isinstance(other, list) or its_key < len(other):
                    holder[key] = copy.deepcopy(other[its_key])
            case 2 if isinstance(value, list) and value:
                value.append(copy.deepcopy(random.choice(value)))
            case 3 if isinstance(value, list | dict):
                holder[key] = type(value)()
            case 4 if isinstance(value, int | float) and not isinstance(value, bool):
                holder[key] = value * random.choice((-1, 0, 2, 0.5, 1000, 3_000_000))
            case 5 if isinstance(value, str):
                holder[key] = value + random.choice(("x", "\x1b[2J", "\n", "." * 300, ".weight"))
            case 6 if isinstance(holder, dict):
                holder[str(random.choice(STRANGE))[:300]] = holder.pop(key)
            case 7:
                holder[key] = [value]
            case _:
                holder[key] = copy.deepcopy(random.choice(STRANGE))
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a document; of long lists of numbers a few."""
    found: list[tuple[Any, Any]] = []
    left = [document]
    while left:
        holder = left.pop()
        keys: list[Any] = []
        if isinstance(holder, dict):
            keys = list(holder)
        elif isinstance(holder, list):
            keys = list(range(len(holder)))
            if len(keys) > 8 and not isinstance(holder[0], list | dict):
                keys = [0, len(keys) // 2, len(keys) - 1]
        for key in keys:
            found.append((holder, key))
            left.append(holder[key])
    return found


def of_proto(random: Random, message: Any) -> bytes:
    """Return the bytes of a protobuf message whose fields are odd, or which are damaged."""
    if random.randrange(4) == 0:
        return of_bytes(random, message.SerializeToString())
    message = copy.deepcopy(message)
    for _ in range(random.choice((1, 1, 2, 4))):
        inside = _messages(message)
        _alter(random, random.choice(inside), inside)
    return bytes(message.SerializeToString())


def _messages(message: Any) -> list[Any]:
    found, left = [], [message]
    while left:
        one = left.pop()
        found.append(one)
        for field, value in one.ListFields():
            if field.message_type is not None:
                left += list(value) if field.is_repeated else [value]
    return found


def _alter(random: Random, one: Any, inside: list[Any]) -> None:
    field = random.choice(one.DESCRIPTOR.fields)
    present = [f for f, _ in one.ListFields()]
    if present and random.randrange(3):
        field = random.choice(present)
    choice = random.randrange(4)
    if choice == 0:
        one.ClearField(field.name)
        return
    if field.message_type is not None:
        same = [other for other in inside if field.message_type == other.DESCRIPTOR]
        if not same:
            return
        given = copy.deepcopy(random.choice(same))
        if not field.is_repeated:
            getattr(one, field.name).CopyFrom(given)
        elif choice == 1 and len(getattr(one, field.name)):
            del getattr(one, field.name)[random.randrange(len(getattr(one, field.name)))]
        else:
            getattr(one, field.name).append(given)
        return
    value = _odd_scalar(random, field, inside)
    try:
        if not field.is_repeated:
            setattr(one, field.name, value)
        elif choice == 1 and len(getattr(one, field.name)):
            getattr(one, field.name)[random.randrange(len(getattr(one, field.name)))] = value
        else:
            getattr(one, field.name).append(value)
    except (ValueError, TypeError):  # the field's own type cannot hold it
        one.ClearField(field.name)


def _odd_scalar(random: Random, field: Any, inside: list[Any]) -> Any:
    kinds = {9: "text", 12: "bytes", 1: "float", 2: "float"}
    match kinds.get(field.type, "number"):
        case "text":
            names = [
                v for m in inside for f, v in m.ListFields() if f.type == 9 and not f.is_repeated
            ]
            return random.choice((*names, "", "\x1b[2J", "x" * 300, "../x", "Conv", "Loop", "é"))
        case "bytes":
            return random.choice((b"", b"\x00" * 7, b"Conv", random.randbytes(12), b"\xff"))
        case "float":
            return random.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    return random.choice((*NUMBERS, -1, -(2**31), 4, 5, 6, 8, 10, 11, 13, 14, 16, 17, 24))
