r"""The bytes of a message: a JSON header and a binary payload, both bounded.

    magic   8 bytes, b"\x93GSYN\r\n\x1a": not UTF-8, and broken by a text-mode channel
    u32     bytes of the header, big-endian, at most 1 MiB
    u64     bytes of the payload, big-endian, at most 64 MiB
    header  a JSON object in UTF-8: at most 32 deep, finite numbers, no key twice; with a
            payload it has that payload's "sha256"
    payload

What a login shell prints before the first message (at most 64 KiB) is skipped; after it,
anything that is not a message is a `protocol_error`. Memory is bounded by one message.
"""

import hashlib
import json
import math
import struct
from typing import IO, Any, Dict, List, Optional, Tuple

from gensynth.devices.agent.wire.status import Fault

MAGIC = b"\x93GSYN\r\n\x1a"
HEADER_LIMIT = 1 << 20
PAYLOAD_LIMIT = 64 << 20
NOISE_LIMIT = 64 << 10
DEPTH_LIMIT = 32

_PREFIX = struct.Struct(">8sIQ")

Frame = Tuple[Dict[str, Any], bytes]


class Decoder:
    """Bytes in, messages out, however the bytes are cut."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._skipping = True
        self.noise = bytearray()  # what came before the first message, for an explanation

    def feed(self, received: bytes) -> List[Frame]:
        """Return the messages that are complete with these bytes.

        Raises:
            Fault: `protocol_error`; the channel is of no use any more.
        """
        self._bytes += received
        complete: List[Frame] = []
        while True:
            frame = self._next()
            if frame is None:
                return complete
            complete.append(frame)

    def wanted(self) -> int:
        """Return the number of bytes that certainly belong to the message begun, at least 1."""
        if self._skipping:
            return 1
        if len(self._bytes) < _PREFIX.size:
            return _PREFIX.size - len(self._bytes)
        _, header_size, payload_size = _PREFIX.unpack_from(self._bytes)
        return max(1, int(_PREFIX.size + header_size + payload_size - len(self._bytes)))

    def _next(self) -> Optional[Frame]:
        if self._skipping:
            self._skip_noise()
        if self._skipping or not self._prefix_fits():
            return None
        _, header_size, payload_size = _PREFIX.unpack_from(self._bytes)
        end = _PREFIX.size + header_size + payload_size
        if len(self._bytes) < end:
            return None
        with memoryview(self._bytes) as view:
            text = bytes(view[_PREFIX.size : _PREFIX.size + header_size])
            payload = bytes(view[_PREFIX.size + header_size : end])
        del self._bytes[:end]
        header = _header(text)
        if payload and header.get("sha256") != hashlib.sha256(payload).hexdigest():
            raise Fault("protocol_error", "a payload does not have the sha256 that its header says")
        return header, payload

    def _skip_noise(self) -> None:
        start = self._bytes.find(MAGIC)
        self._skipping = start < 0
        noise = max(0, len(self._bytes) - len(MAGIC) + 1) if start < 0 else start
        self.noise += self._bytes[:noise]
        del self._bytes[:noise]
        if len(self.noise) > NOISE_LIMIT:
            raise Fault(
                "protocol_error",
                "a message must come within the first {} bytes, got {} bytes of "
                "something else".format(NOISE_LIMIT, len(self.noise)),
            )

    def _prefix_fits(self) -> bool:
        """Return whether the prefix is there, having refused it as early as its bytes allow."""
        start = bytes(self._bytes[: len(MAGIC)])
        if not MAGIC.startswith(start):
            raise Fault(
                "protocol_error",
                "a message must begin with {!r}, got {!r}; something else writes to the "
                "agent's channel".format(MAGIC, start),
            )
        if len(self._bytes) < _PREFIX.size:
            return False
        _, header_size, payload_size = _PREFIX.unpack_from(self._bytes)
        if header_size > HEADER_LIMIT or payload_size > PAYLOAD_LIMIT:
            raise Fault(
                "protocol_error",
                "a message must have at most {} bytes of header and {} of payload, got {} and "
                "{}".format(HEADER_LIMIT, PAYLOAD_LIMIT, header_size, payload_size),
            )
        return True


def encode(header: Dict[str, Any], payload: bytes = b"") -> bytes:
    """Return a message's bytes; a payload's sha256 is added to its header.

    Raises:
        Fault: `protocol_error` for what the other side would refuse.
    """
    if payload:
        header = dict(header, sha256=hashlib.sha256(payload).hexdigest())
    _check(header, DEPTH_LIMIT)
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode("utf-8")
    if len(text) > HEADER_LIMIT or len(payload) > PAYLOAD_LIMIT:
        raise Fault(
            "protocol_error",
            "a message must have at most {} bytes of header and {} of payload, got {} and "
            "{}".format(HEADER_LIMIT, PAYLOAD_LIMIT, len(text), len(payload)),
        )
    return _PREFIX.pack(MAGIC, len(text), len(payload)) + text + payload


def read(stream: IO[bytes], decoder: Optional[Decoder] = None) -> Frame:
    """Return the next message of a blocking stream and take nothing that follows it.

    Raises:
        Fault: `device_lost` if the stream ends first, else as `Decoder.feed`.
    """
    decoder = Decoder() if decoder is None else decoder
    while True:
        received = stream.read(decoder.wanted())
        if not received:
            raise Fault("device_lost", "the other side closed the channel")
        for frame in decoder.feed(received):
            return frame


def write(stream: IO[bytes], header: Dict[str, Any], payload: bytes = b"") -> None:
    """Write one message and flush it.

    Raises:
        Fault: `device_lost` if nobody reads any more, else as `encode`.
    """
    message = encode(header, payload)
    try:
        stream.write(message)
        stream.flush()
    except (OSError, ValueError) as error:  # ValueError: the stream is closed
        raise Fault("device_lost", "the other side closed the channel: {}".format(error)) from error


def parse(text: bytes) -> Any:
    """Return the JSON value of a bounded text.

    Raises:
        Fault: `protocol_error` unless it is UTF-8, at most 32 deep, with finite numbers and no
            key twice.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise Fault("protocol_error", "a header must be JSON: {}".format(error)) from error
    _check(value, DEPTH_LIMIT)
    return value


def _header(text: bytes) -> Dict[str, Any]:
    value = parse(text)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Fault("protocol_error", 'a header must be an object with a "type"')
    return value


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20:  # more than 64 bits; a million digits would take seconds
        raise ValueError("an integer must fit 64 bits, got {} digits".format(len(digits)))
    return int(digits)


def _refuse_constant(name: str) -> Any:
    raise ValueError("{} is not a finite number".format(name))


def _check(value: Any, depth: int) -> None:
    """Refuse what JSON cannot say, or says in a way that another reader takes differently."""
    if depth < 0:
        raise Fault("protocol_error", "JSON must be at most {} deep".format(DEPTH_LIMIT))
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Fault("protocol_error", "a key must be a string, got {!r}".format(key))
            _check(item, depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Fault("protocol_error", "a number must be finite, got {}".format(value))
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise Fault("protocol_error", "JSON cannot say {}".format(type(value).__name__))
