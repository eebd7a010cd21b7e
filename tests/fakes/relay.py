"""A cable between a host and a board that a test can cut or unplug at any byte.

    with Relay() as relay:          # connect to relay.port
        relay.target = port
        relay.cut_after(up=1000)    # from the next connection on

A cut closes both ends at once, as a board that is switched off behind a living router does;
an unplugged cable carries nothing and tells nobody.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Literal, Self

CHUNK = 1 << 14
_RESET = struct.pack("ii", 1, 0)  # closing sends a reset, not an end


@dataclass
class _Side:
    """One end of a connection.

    Attributes:
        other: where its bytes go.
        way: "up" to the board, or "down" to the host.
        carried: bytes so far.
    """

    end: socket.socket
    other: socket.socket
    way: Literal["up", "down"]
    carried: int = 0


class Relay:
    """Carries TCP connections to a port of this machine.

    Attributes:
        target: the port of the board, for the next connection.
        port: where it listens.
        connections: how many were made.
    """

    def __init__(self) -> None:
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._limits: dict[str, int] = {}
        self._unplugged = threading.Event()
        self._cut = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def cut_after(self, *, up: int | None = None, down: int | None = None) -> None:
        """Cut a connection, once, when it has carried so many bytes that way."""
        limits = {"up": up, "down": down}
        self._limits = {way: limit for way, limit in limits.items() if limit is not None}

    def cut(self) -> None:
        """Cut every connection now; new ones are carried."""
        self._cut.set()
        while self._cut.is_set():
            time.sleep(0.005)

    def unplug(self) -> None:
        """Carry nothing any more, in silence."""
        self._unplugged.set()

    def plug_in(self) -> None:
        """Carry on."""
        self._unplugged.clear()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ending.is_set():
                if self._cut.is_set():
                    self._close(selector, self._sides(selector))
                    self._cut.clear()
                for key, _ in selector.select(0.02):
                    if key.data is None:
                        self._accept(selector)
                    elif not self._unplugged.is_set() and key.data.end.fileno() >= 0:
                        self._carry(selector, key.data)
            self._close(selector, self._sides(selector))

    def _accept(self, selector: selectors.BaseSelector) -> None:
        host, _ = self._listener.accept()
        self.connections += 1
        try:
            board = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            host.close()
            return
        for side in (_Side(host, board, "up"), _Side(board, host, "down")):
            selector.register(side.end, selectors.EVENT_READ, side)

    def _carry(self, selector: selectors.BaseSelector, side: _Side) -> None:
        try:
            received = side.end.recv(CHUNK)
            limit = self._limits.get(side.way)
            if limit is not None and side.carried + len(received) > limit:
                received = received[: limit - side.carried]
            side.other.sendall(received)
        except OSError:
            received = b""
        side.carried += len(received)
        if limit_reached := side.carried == self._limits.get(side.way):
            self._limits = {}
        if limit_reached or not received:
            self._close(selector, [side, selector.get_key(side.other).data])

    def _sides(self, selector: selectors.BaseSelector) -> list[_Side]:
        return [key.data for key in selector.get_map().values() if key.data is not None]

    def _close(self, selector: selectors.BaseSelector, sides: list[_Side]) -> None:
        for side in sides:
            selector.unregister(side.end)
            with contextlib.suppress(OSError):
                side.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.end.close()
