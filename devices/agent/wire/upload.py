"""A blob that arrives in parts, and only counts once all of it has the hash it was sent under."""

import hashlib
import os
from typing import Any

from gensynth.devices.agent.wire.spool import Spool, disk_errors, partial_name
from gensynth.devices.agent.wire.status import Fault

BLOB_LIMIT = 4 << 30


class Upload:
    """One blob on its way.

    Attributes:
        sha256: what it has to have.
    """

    def __init__(self, spool: Spool, sha256: str, size: Any) -> None:
        """Make room for a blob.

        Raises:
            Fault: `protocol_error` for an impossible size, `build_failed` for a full disk.
        """
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_LIMIT:
            raise Fault(
                "protocol_error",
                "a blob must have at most {} bytes, got {!r:.80}".format(BLOB_LIMIT, size),
            )
        spool.require(size)
        self.sha256 = sha256
        self._size = size
        self._received = 0
        self._hash = hashlib.sha256()
        self._path = spool.blob_path(sha256)
        self._partial = partial_name(self._path)
        with disk_errors("write a blob"):
            self._file = open(self._partial, "wb")

    @property
    def is_complete(self) -> bool:
        """Whether the last part has come."""
        return self._received == self._size

    def add(self, offset: Any, part: bytes) -> None:
        """Take the next part.

        Raises:
            Fault: `protocol_error` if it is not the next, `build_failed` for a full disk.
        """
        if offset != self._received or self._received + len(part) > self._size:
            raise Fault(
                "protocol_error",
                "the next part must begin at {} and end by {}, got {} bytes at {!r:.80}".format(
                    self._received, self._size, len(part), offset
                ),
            )
        with disk_errors("write a blob"):
            self._file.write(part)
        self._hash.update(part)
        self._received += len(part)

    def finish(self) -> None:
        """Make the blob visible.

        Raises:
            Fault: `protocol_error` if it has another hash, `build_failed` for a full disk.
        """
        found = self._hash.hexdigest()
        if found != self.sha256:
            raise Fault(
                "protocol_error",
                "a blob must have the sha256 {}, got {}".format(self.sha256, found),
            )
        with disk_errors("write a blob"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.rename(self._partial, self._path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        try:
            self._file.close()
        except OSError:  # what was not yet written does not fit; it is not wanted either
            pass
        os.remove(self._partial)
