"""How long a job may go on: while its host is heard, and within its limits of time.

All times are of the monotonic clock, which every session of a boot shares.
"""

import contextlib
import threading
import time
from typing import Any, Dict, Iterator, List

from gensynth.devices.agent.session import lock
from gensynth.devices.agent.wire.channel import Channel
from gensynth.devices.agent.wire.spec import BEAT_S, MAX_SECONDS, Spec
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault

LOAD_PHASES = ("loaded", "build")
EXPECTED_TIMES = 3


class Lease:
    """Whether the host that asked for a job is still there.

    A lost connection does not end a job: the host may come back and ask for it again, which
    another session then passes on (`lock.prolong`).

    Attributes:
        sources: descriptors on which the host may be heard; none once it has closed.
    """

    def __init__(self, host: Channel, spool: Spool, spec: Spec) -> None:
        self._host = host
        self._spool = spool
        self._id = spec["id"]
        self._limit_s = spec["limits"]["lease_s"]
        self._heard_s = self._beaten_s = time.monotonic()
        self.sources: List[int] = [host.source]

    @property
    def wake_s(self) -> float:
        """How long one may wait between two checks."""
        return min(1.0, self._limit_s / 4)

    def check(self) -> bool:
        """Listen to the host, tell it that we live; return whether it was heard.

        Raises:
            Fault: `cancelled` by the host or by its silence; `protocol_error`.
        """
        heard = self._listen()
        now_s = time.monotonic()
        if heard:
            self._heard_s = now_s
        request = lock.request(self._spool, self._id)
        if request["cancel"]:
            raise Fault("cancelled", "the host cancelled the job", {"cause": "host"})
        silent_s = now_s - max(self._heard_s, request["heard_s"])
        if silent_s > self._limit_s:
            raise Fault(
                "cancelled",
                "the host was silent for {:.0f} s, so the job was ended".format(silent_s),
                {"cause": "lease"},
            )
        if now_s - self._beaten_s >= BEAT_S:
            self._beaten_s = now_s
            self.tell({"type": "beat"})
        return heard

    def tell(self, header: Dict[str, Any]) -> None:
        """Send the host a message that may be lost."""
        try:
            if self.sources:
                self._host.offer(header)
        except Fault:
            self.sources = []

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Tell the host that we live while the block does something long and sends nothing.

        Only around what ends by itself, or the host would wait for ever.
        """
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_S):
                self.tell({"type": "beat"})

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _listen(self) -> bool:
        heard = False
        while self.sources:
            try:
                frame = self._host.receive(0.0)
            except Fault as fault:
                if fault.status != "device_lost":
                    raise
                self.sources = []
                break
            if frame is None:
                break
            heard = True
            kind = frame[0]["type"]
            if kind == "cancel":
                raise Fault("cancelled", "the host cancelled the job", {"cause": "host"})
            if kind != "beat":
                raise Fault(
                    "protocol_error", "while a job runs, {!r:.80} cannot be answered".format(kind)
                )
        return heard


class Stopwatch:
    """Separate limits for loading and building, and for running.

    The second is for a board of usual speed. What the worker expects from the runs that it has
    seen raises it, so that a slow board has the time that it needs.
    """

    def __init__(self, limits: Dict[str, float]) -> None:
        self._limits = dict(limits)
        self._part = "build"
        self._since_s = time.monotonic()
        self.spent_s = {"build": 0.0, "run": 0.0}

    def enter(self, phase: str) -> None:
        """Go on in a phase that the worker reports."""
        self.left_s()
        self._part = "build" if phase in LOAD_PHASES else "run"

    def expect(self, seconds: float) -> None:
        """Give the present part three times what the worker says that it needs from now on."""
        self.left_s()
        wanted_s = self.spent_s[self._part] + EXPECTED_TIMES * seconds
        limit = self._part + "_s"
        self._limits[limit] = min(MAX_SECONDS, max(self._limits[limit], wanted_s))

    def left_s(self) -> float:
        """Return the seconds left of the present part.

        Raises:
            Fault: `timeout_build` or `timeout_run` if none is.
        """
        now_s = time.monotonic()
        self.spent_s[self._part] += now_s - self._since_s
        self._since_s = now_s
        limit_s = self._limits[self._part + "_s"]
        left_s = limit_s - self.spent_s[self._part]
        if left_s <= 0:
            what = {"build": "loading and building", "run": "running"}[self._part]
            raise Fault(
                "timeout_" + self._part,
                "{} must end within {:g} s here; take a smaller network or batch".format(
                    what, limit_s
                ),
            )
        return left_s
