"""Sessions with devices' agents that last as long as whoever measures: a search, say.

    with closing(Sessions()) as sessions:
        with sessions(device) as connection: ...
        train()
        with sessions(device) as connection: ...    # the same one

To reach a board and start its agent takes a second or two and a login; a search comes back
after every training. Meanwhile the session holds nothing: a board is held by a job that runs,
and whoever shares it measures between two of ours. A beat every 20 s keeps the agent, which
would end after a minute of silence, and the way there. A session that was lost in between is made
anew, once, before it is used.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gensynth.devices.client import Connection, connect
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault

BEAT_EVERY_S = 20.0
"""A third of the silence after which an agent ends."""


class Sessions:
    """One session a device, used by one caller at a time."""

    def __init__(self) -> None:
        self._held: dict[Device, tuple[Connection, ExitStack]] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def __call__(self, device: Device) -> Iterator[Connection]:
        """Yield the session with a device; one that an error has broken off is not used again.

        Raises:
            DeviceFault: as `connect`.
        """
        with self._lock:
            connection = self._living(device) or self._opened(device)
            try:
                yield connection
            except BaseException:  # half a conversation may be left in it
                self._end(device)
                raise

    def close(self) -> None:
        """End all sessions."""
        self._closing.set()
        with self._lock:
            for device in list(self._held):
                self._end(device)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._closing.clear()

    def _living(self, device: Device) -> Connection | None:
        """Return the session that is held, if its agent still answers."""
        if device not in self._held:
            return None
        connection, _ = self._held[device]
        try:
            connection.check_alive()
        except DeviceFault:
            self._end(device)
            return None
        return connection

    def _opened(self, device: Device) -> Connection:
        stack = ExitStack()
        connection = stack.enter_context(connect(device))
        self._held[device] = connection, stack
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        return connection

    def _end(self, device: Device) -> None:
        found = self._held.pop(device, None)
        if found is not None:
            found[1].close()

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_EVERY_S):
            if not self._lock.acquire(blocking=False):
                continue  # it is in use, which is as good as a beat
            try:
                for device, (connection, _) in list(self._held.items()):
                    try:
                        connection.beat()
                    except DeviceFault:
                        self._end(device)
            finally:
                self._lock.release()
