"""Every outcome of a job, and the one exception that carries an outcome.

Only `ok` and `degraded` hold figures that a search may use. A fault's cause is either the
network's (it would fail again) or the world's (a repeat may succeed); the host decides what
to repeat.
"""

from typing import Any, Dict, Optional

STATUSES = {
    "ok": "measured as asked",
    "degraded": "measured; the flags say what was not as asked",
    "throttled": "measured while the board slowed itself down",
    "not_steady": "measured before it settled",
    "invalid_output": "the network's outputs are not finite, or not those of the host",
    "unsupported_op": "the runtime does not know an operator of the network",
    "build_failed": "no engine could be made; the message says why",
    "oom": "memory ran out",
    "timeout_build": "loading and building took longer than the limit",
    "timeout_run": "measuring took longer than the limit",
    "device_lost": "the board, its agent or the worker is gone",
    "device_busy": "another job holds the board",
    "auth_failed": "the board does not accept the user's key",
    "host_key_changed": "the board is not the one that was registered",
    "quarantined": "the board does not measure its reference network as it did",
    "runtime_missing": "none of the runtimes asked for works on the board",
    "sensor_missing": "the board has no power sensor that can be read",
    "sensor_bad": "the power sensor's readings cannot be believed",
    "version_mismatch": "host and board do not speak the same version",
    "needs_reboot": "nothing works on the board until it is restarted",
    "cancelled": "stopped by the host, or by its silence",
    "protocol_error": "a message that cannot be meant",
}
USABLE = frozenset(["ok", "degraded"])


class Fault(Exception):
    """An outcome other than success.

    Attributes:
        status: a key of `STATUSES`.
        message: what must hold, what came, what to do.
        details: JSON values for a program.
    """

    def __init__(self, status: str, message: str, details: Optional[Dict[str, Any]] = None) -> None:
        if status not in STATUSES or status in USABLE:
            raise ValueError("a fault's status must be one of STATUSES, got {!r}".format(status))
        super().__init__(status, message, details)
        self.status = status
        self.message = message
        self.details = dict(details or {})

    def __str__(self) -> str:
        return "{}: {}".format(self.status, self.message)

    def as_json(self) -> Dict[str, Any]:
        """Return the fields of a `fault` message."""
        return {"status": self.status, "message": self.message, "details": self.details}


def fault_from(header: Dict[str, Any]) -> Fault:
    """Return the fault that a `fault` message describes."""
    status, message, details = (header.get(key) for key in ("status", "message", "details"))
    if status not in STATUSES or status in USABLE or not isinstance(message, str):
        return Fault("protocol_error", "a fault must have a known status and a message")
    return Fault(status, message, details if isinstance(details, dict) else None)
