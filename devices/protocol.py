"""Every message between host and agent, with its fields.

A session is one process on the board: `ssh DESTINATION python3 ...`, or a subprocess for
`local`. First the bootstrap (`gensynth.devices.link`) puts the agent's file there if its hash
is not there yet, and becomes it. Then messages go both ways, framed as in
`gensynth.devices.agent.wire.frames`: a JSON header with a "type", and perhaps a payload.

    host -> agent                           agent -> host
    hello {protocol, agent}                 hello {protocol, agent, python, pid, facts,
                                                   home_free_mib, interrupted}
    have  {sha256s}                         missing {sha256s}
    put   {blob, size, offset} + payload    stored {blob}
    job   {spec}                            waiting {id, owner}, accepted {id},
                                            progress {id, phase, done, total}, ...,
                                            result {result}
    get   {blob, offset}                    blob {blob, size, offset} + payload
    facts {}                                facts {facts}, with "runtimes", the versions there
    check {patience_s}                      check {report}
    beat  {}, cancel {id}, bye {}           beat {}
                                            fault {status, message, details}

- `hello` is first; protocols that differ end the session with `version_mismatch`. "interrupted" is
  the job that the board's last session did not end, by a crash or a power cut, or null.
- `put` sends a blob in parts of at most 8 MiB, in order; `stored` answers each. The blob is
  there once its last part has come and the whole has the hash "blob".
- `job` is answered once by `result`, whatever became of the job, or by a `fault` if it could not
  begin: `device_busy` with the "owner" in its details, `protocol_error`. `waiting` says that
  another session holds the same job; its result is this one's too. Meanwhile the host sends
  `beat` every 5 s, and the agent does; a host that is silent for the job's lease has its
  job ended; an agent that is silent for 15 s is `device_lost`. Nothing else may be sent
  meanwhile but `cancel`.
- `check` waits "patience_s" for each runtime to open: importing TensorRT on a small board takes its
  time.
- "progress" has "expected_s" where the worker knows how long what follows takes at the board's own
  speed; a job has three times that, if its limit is less.
- A `fault` answers any request that cannot be met. The session goes on, except after
  `version_mismatch` and after bytes that are no message. It also ends when the host has said
  nothing for a minute.

The fields of a job's specification are those of `gensynth.devices.agent.wire.spec`, which refuses
any other; the statuses those of `gensynth.devices.agent.wire.status`. Blobs are known by their
sha256 and jobs by [a-z0-9-]{1,64}: no file's name crosses the wire.
"""

from gensynth.devices.agent.wire.spec import (
    BEAT_S,
    LEASE_S,
    PATIENCE_S,
    PROTOCOL,
    survey_s,
)
from gensynth.devices.agent.wire.upload import BLOB_LIMIT

__all__ = [
    "ANSWER_S",
    "AROUND_S",
    "BEAT_S",
    "BLOB_LIMIT",
    "EXPECTED_TIMES",
    "LEASE_S",
    "PART",
    "PATIENCE_S",
    "PROTOCOL",
    "SILENCE_S",
    "survey_s",
]

SILENCE_S = 15.0
"""After so long without a byte the board counts as lost."""

ANSWER_S = 60.0
"""How long an answer may take while the board only says that it lives; a put may fill its disk."""

EXPECTED_TIMES = 3
"""How many times of what a board foretells it gives itself."""

AROUND_S = 600.0
"""What a job may take beside loading and running: setting clocks, ending a worker, and cleaning."""

PART = 1 << 20
"""Bytes of a blob in one message."""
