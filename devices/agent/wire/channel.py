"""Messages over two descriptors, where waiting always has an end.

Waits are the kernel's own (monotonic), so a clock that is set meanwhile changes nothing. One
process can wait for several channels at once, without threads.
"""

import os
import select
from typing import Any, Dict, List, Optional, Sequence, Union

from gensynth.devices.agent.wire import frames
from gensynth.devices.agent.wire.status import Fault

CHUNK = 1 << 18
STALL_S = 15.0  # a reader that takes nothing for so long is gone


class Channel:
    """Both directions of a conversation.

    Attributes:
        decoder: what has been received; holds the noise before the first message.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.decoder = frames.Decoder()
        self._waiting: List[frames.Frame] = []
        os.set_blocking(source, False)
        os.set_blocking(sink, False)

    @property
    def has_message(self) -> bool:
        """Whether `receive` returns at once."""
        return bool(self._waiting)

    def receive(self, timeout_s: float) -> Optional[frames.Frame]:
        """Return the next message, or None if nothing at all comes for so long.

        Raises:
            Fault: `device_lost` if the other side has closed; `protocol_error`.
        """
        while not self._waiting:
            if not wait_readable([self.source], timeout_s):
                return None
            self.pump()
        return self._waiting.pop(0)

    def pump(self) -> None:
        """Take what has arrived, without waiting.

        Raises:
            Fault: as `receive`; not before the messages that came whole have been received.
        """
        try:
            received = os.read(self.source, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise Fault("device_lost", "the channel broke: {}".format(error)) from error
        if not received:
            raise Fault("device_lost", "the other side closed the channel")
        self.take(received)

    def take(self, received: bytes) -> None:
        """Take bytes that were read from the source elsewhere; raises as `receive`."""
        self._waiting += self.decoder.feed(received)

    def send(self, header: Dict[str, Any], payload: bytes = b"") -> None:
        """Send one message.

        Raises:
            Fault: `device_lost` if the other side has closed or takes nothing for 15 s.
        """
        self.send_bytes(frames.encode(header, payload))

    def send_bytes(self, message: Union[bytes, memoryview]) -> None:
        """Send bytes as they are; raises as `send`."""
        rest = memoryview(message)
        while rest:
            if not _wait_writable(self.sink, STALL_S):
                raise Fault("device_lost", "the other side took nothing for {:g} s".format(STALL_S))
            try:
                rest = rest[os.write(self.sink, rest[:CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                message_text = "the other side closed the channel: {}".format(error)
                raise Fault("device_lost", message_text) from error

    def offer(self, header: Dict[str, Any]) -> None:
        """Send a small message that may be lost, if that takes no waiting.

        Raises:
            Fault: `device_lost` if the other side has closed.
        """
        message = frames.encode(header)
        # A pipe that is writable takes this many bytes whole.
        if len(message) <= select.PIPE_BUF and _wait_writable(self.sink, 0.0):
            self.send_bytes(message)

    def close(self) -> None:
        """Close both directions."""
        for descriptor in {self.source, self.sink}:
            os.close(descriptor)


class Tail:
    """The last bytes of a stream of text of any length."""

    def __init__(self, source: int, limit: int = 1 << 16) -> None:
        self.source = source
        self.is_open = True
        self._limit = limit
        self._bytes = bytearray()
        os.set_blocking(source, False)

    def pump(self) -> None:
        """Take what has arrived, without waiting."""
        while self.is_open:
            try:
                received = os.read(self.source, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            self.is_open = bool(received)
            self._bytes += received
            del self._bytes[: -self._limit]
            if len(received) < CHUNK:
                return

    def text(self) -> str:
        """Return what is kept."""
        return self._bytes.decode("utf-8", "replace").strip()


def wait_readable(descriptors: Sequence[int], timeout_s: Optional[float]) -> List[int]:
    """Return those of the descriptors that have something to read or have ended.

    Args:
        timeout_s: None waits for ever.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else max(0.0, timeout_s) * 1000
    return [ready for ready, _ in poll.poll(timeout_ms)]


def _wait_writable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1000))
