"""The bytes of a message: what goes in comes out, however it is cut, and nothing else does."""

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.devices.agent.wire import frames
from gensynth.devices.agent.wire.frames import Decoder, encode
from gensynth.devices.agent.wire.status import STATUSES, USABLE, Fault, fault_from

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
HEADERS = st.dictionaries(st.text("abcxyz"), JSON, max_size=4).map(lambda h: h | {"type": "t"})


def raw(header: bytes, payload: bytes = b"") -> bytes:
    """A message as its bytes are documented, whatever the header is."""
    return b"\x93GSYN\r\n\x1a" + struct.pack(">IQ", len(header), len(payload)) + header + payload


def refusal(received: bytes) -> str:
    """Why bytes are no message."""
    with pytest.raises(Fault) as fault:
        Decoder().feed(received)
    assert fault.value.status == "protocol_error"
    return fault.value.message


def test_a_message_is_what_its_description_says() -> None:
    # sha256 of b"abc", from FIPS 180-2's example.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    header = json.dumps({"type": "put", "sha256": abc}, separators=(",", ":")).encode()
    assert encode({"type": "put"}, b"abc") == raw(header, b"abc")


@given(
    st.lists(st.tuples(HEADERS, st.binary(max_size=50)), min_size=1, max_size=4),
    st.binary(max_size=40).filter(lambda noise: b"\x93" not in noise),
    st.lists(st.integers(1, 60)),
)
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[tuple[dict[str, Any], bytes]], noise: bytes, cuts: list[int]
) -> None:
    stream = noise + b"".join(encode(header, payload) for header, payload in messages)
    decoder, received = Decoder(), []
    for cut in [*cuts, len(stream)]:
        received += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert [payload for _, payload in received] == [payload for _, payload in messages]
    for (header, _), (sent, payload) in zip(received, messages, strict=True):
        assert {key: header[key] for key in sent} == sent
        assert set(header) == set(sent) | ({"sha256"} if payload else set())
    assert bytes(decoder.noise) == noise


def test_reading_takes_nothing_of_what_follows() -> None:
    stream = io.BytesIO(encode({"type": "a"}, b"12") + encode({"type": "b"}))
    assert [frames.read(stream)[0]["type"] for _ in "ab"] == ["a", "b"]
    with pytest.raises(Fault) as fault:
        frames.read(stream)
    assert fault.value.status == "device_lost"


@pytest.mark.parametrize("length", range(1, 30))
def test_a_message_that_ends_too_early_is_not_one(length: int) -> None:
    message = encode({"type": "t"}, b"payload")
    decoder = Decoder()
    assert decoder.feed(message[:length]) == []
    assert len(decoder.feed(message[length:])) == 1


def test_noise_is_skipped_up_to_a_limit_and_only_before_the_first_message() -> None:
    message = encode({"type": "t"})
    assert len(Decoder().feed(b"\n" * frames.NOISE_LIMIT + message)) == 1
    assert "first 65536 bytes" in refusal(b"\n" * (frames.NOISE_LIMIT + 8))
    assert "something else writes" in refusal(message + b"\n" + message)


def test_a_text_mode_channel_is_noticed() -> None:
    assert refusal(encode({"type": "a"}) + encode({"type": "b"}).replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "must be JSON"),
        (b"\xff", "must be JSON"),
        (b"{", "must be JSON"),
        (b'{"type":"t"}{}', "must be JSON"),
        (b"null", '"type"'),
        (b'{"type":1}', '"type"'),
        (b'{"type":"t","a":NaN}', "finite"),
        (b'{"type":"t","a":-Infinity}', "finite"),
        (b'{"type":"t","a":1e999}', "finite"),
        (b'{"type":"t","type":"u"}', "twice"),
        (b'{"type":"t","a":' + b"9" * 100_000 + b"}", "64 bits"),
        (b'{"type":"t","a":' + b"[" * 33 + b"]" * 33 + b"}", "32 deep"),
        (b'{"type":"t","a":' + b"[" * 100_000, "must be JSON"),
    ],
)
def test_a_header_that_two_readers_could_take_differently(header: bytes, why: str) -> None:
    assert why in refusal(raw(header))


def test_sizes_are_refused_before_anything_of_that_size_is_kept() -> None:
    for header, payload in ((1 << 20 | 1, 0), (2, (64 << 20) + 1), (1 << 31, 1 << 63)):
        prefix = b"\x93GSYN\r\n\x1a" + struct.pack(">IQ", header, payload)
        assert "at most" in refusal(prefix)


@pytest.mark.parametrize(
    "header",
    [{"a": float("nan")}, {"a": [float("inf")]}, {"a": b"bytes"}, {1: "a"}, {"a": "x" * (1 << 20)}],
    ids=repr,
)
def test_what_the_other_side_would_refuse_is_not_sent(header: dict[Any, Any]) -> None:
    with pytest.raises(Fault) as fault:
        encode(dict({"type": "t"}, **header) if "a" in header else header)
    assert fault.value.status == "protocol_error"


def test_a_payload_must_have_the_hash_that_its_header_says() -> None:
    message = bytearray(encode({"type": "t"}, b"payload"))
    message[-1] ^= 1
    assert "sha256" in refusal(bytes(message))


@pytest.mark.parametrize("status", sorted(set(STATUSES) - USABLE))
def test_a_fault_crosses_the_wire(status: str) -> None:
    fault = Fault(status, "what must hold", {"a": 1})
    message = encode(fault.as_json() | {"type": "fault"})
    came = fault_from(Decoder().feed(message)[0][0])
    assert came.as_json() == fault.as_json()


@pytest.mark.parametrize("status", ["ok", "degraded", "splendid"])
def test_a_success_is_no_fault(status: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Fault(status, "message")
