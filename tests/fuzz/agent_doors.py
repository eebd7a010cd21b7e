"""The doors of the agent on a board, and of what a board answers."""

import json
import os
import sqlite3
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from gensynth.bench.grades import find_grade
from gensynth.bench.record import make
from gensynth.bench.request import Request
from gensynth.bench.store import Store
from gensynth.bench.subjects import find, read
from gensynth.devices.agent.runtimes import onnx_file
from gensynth.devices.agent.session.serve import Session
from gensynth.devices.agent.wire import frames
from gensynth.devices.agent.wire.channel import Channel
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.answers import RESULT
from gensynth.devices.board_form import REPORT as REPORT_FORM
from gensynth.devices.check import Checked, findings
from gensynth.devices.profiles import find_profile
from gensynth.devices.protocol import PROTOCOL
from gensynth.devices.registry import Device
from gensynth.errors import DeviceFault
from gensynth.outside import Form
from gensynth.render.bench import bench
from gensynth.render.devices import checked
from tests.fakes.agent_results import FACTS, AgentResult
from tests.fuzz.doors import Try
from tests.fuzz.mutations import STRANGE, odd, of_bytes, of_json, of_proto
from tests.fuzz.onnx_doors import _files
from tests.onnx_files.written import convolution

ABOUT = {
    "command": "gensynth bench", "started_utc": "2026-11-24T12:00:00", "gensynth": "0.1.0",
    "commit": None, "agent": "a" * 64,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "runtimes": [
        {"path": "onnxruntime", "version": "1.10", "why": None},
        {"path": "trtexec", "version": None, "why": "not there"},
    ],
    "power": {
        "rails": [],
        "meter": {
            "rail": "VDD_IN", "scope": "module", "sensor": "ina", "kind": "power", "period_s": 0.1,
            "tau_s": 0.4, "plausible_w": [0.5, 25], "offset_w": 0.3, "gain_pct": 0.5,
            "syst_pct": 4.25, "seen": {"power_w": 2.0},
        },
        "why": None,
    },
    "clocks": {
        "power_modes": [{"id": 0, "name": "MAXN"}], "current": 0, "can_set": True,
        "can_lock": False, "why": "no sudo", "sudoers": ["me ALL"],
    },
    "agent": "a" * 64, "python": "3.6.9", "home_free_mib": 1000, "facts": FACTS,
}  # fmt: skip


def _request(place: Path) -> Request:
    files = [
        convolution(place / f"{name}.onnx", width=w) for name, w in (("small", 4), ("large", 8))
    ]
    subjects = tuple(read(source) for source in find(files))
    board = Device("board", "user@board")
    return Request(board, subjects, find_grade(None, energy=True), energy=True)


def _formed(form: Form[Any], values: Any) -> None:
    try:
        form.check(values)
    except ValueError as error:
        raise DeviceFault("protocol_error", str(error)) from error


def answers(place: Path) -> Try:
    """Return the door of a board's results and of its report of what works."""
    request = _request(place)
    times = np.array([[1.0, 3.0], [2.0, 4.0], [2.0, 4.0], [1.0, 3.0]])
    good = AgentResult(request, [times, 2 * times])
    good.add_energy([6.0, 9.0], runs=500)

    def attempt(random: Random) -> None:
        if random.randrange(3) == 0:
            report = odd(random, REPORT)
            _formed(REPORT_FORM, report)
            profile = find_profile(random.choice(("generic", "jetson-tx2", "raspberry-pi-5")))
            checked(
                Checked(
                    Device("board", "user@board"), profile, findings(profile, report, None), False
                ),
                80,
            )
            return
        altered = AgentResult(request, [times, 2 * times])
        altered.__dict__.update(_blobs=dict(good.__dict__["_blobs"]))
        blobs = altered.__dict__["_blobs"]
        result = odd(random, good.result) if random.randrange(3) else good.result
        if result is good.result:
            key = random.choice(list(blobs))
            blobs[key] = of_bytes(random, blobs[key])

        def fetch(sha256: str, at_most: int) -> bytes:
            if sha256 not in blobs:
                raise DeviceFault("protocol_error", "no such blob")
            return bytes(blobs[sha256])

        _formed(RESULT, result)
        record, _ = make(request, result, fetch, ABOUT)
        bench({**record, "from_store": False, "reference": None}, 80)

    return attempt


def store(place: Path) -> Try:
    """Return the door of the store, of its file and of its rows."""
    request = _request(place)
    times = np.array([[1.0, 3.0], [2.0, 4.0], [2.0, 4.0], [1.0, 3.0]])
    result = AgentResult(request, [times, 2 * times])
    record, raw = make(request, result.result, lambda sha, _: result.fetch(sha), ABOUT)
    kept = place / "kept.sqlite"
    Store(kept).keep("key", {**record, "reference": None}, raw)
    content = kept.read_bytes()
    blob = next(iter(raw))

    def attempt(random: Random) -> None:
        file = place / "tried.sqlite"
        if random.randrange(2):
            file.write_bytes(of_bytes(random, content))
        else:
            file.write_bytes(content)
            database = sqlite3.connect(file)
            for act in ("jobs_update", "networks_update", "raw_update"):
                database.execute(f"drop trigger {act}")
            column = random.choice(("record", "started_utc", "status"))
            altered: Any = of_json(random, record).decode("utf-8", "replace")
            if random.randrange(3) == 0:
                altered = random.choice((b"\xff", None, 7, "x"))
            try:
                if random.randrange(3):
                    database.execute(f"update jobs set {column} = ?", [altered])
                else:
                    database.execute("update raw set content = ?", [of_bytes(random, b"x\x9c\x03")])
                database.commit()
            except sqlite3.Error:
                pass
            database.close()
        tried = Store(file)
        found = tried.answer("key")
        if found is not None:
            bench({**found, "from_store": True}, 80)
        for row in tried.measured():
            _ = row["p50_ms"]
        tried.under("key")
        tried.jobs_since(record["job_id"])
        tried.raw(blob)

    return attempt


def onnx_reader(place: Path) -> Try:
    """Return the door of the agent's own reader of ONNX files."""
    models = _files(place)

    def attempt(random: Random) -> None:
        file = place / "tried.onnx"
        file.write_bytes(of_proto(random, random.choice(models)))
        onnx_file.read(str(file))

    return attempt


JOB: dict[str, Any] = {
    "id": "job-1",
    "networks": [
        {
            "id": "a", "onnx": "a" * 64,
            "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3], "blob": "b" * 64}],
        }
    ],
    "precision": "fp32", "runtimes": ["onnxruntime"], "threads": 1, "build_only": False,
    "workspace_mib": 64,
    "timing": {
        "warmup": {"min_s": 0.1, "block_s": 0.1, "agree_pct": 5, "cap_s": 1},
        "rounds": 2, "runs": 2, "min_round_s": 0.0,
    },
    "energy": None, "clocks": None, "limits": {"build_s": 5, "run_s": 5, "lease_s": 5},
}  # fmt: skip


def session(place: Path) -> Try:
    """Return the door of the agent: its host's messages, and its own folder, damaged."""
    content = b"some bytes of a blob"
    import hashlib

    sha256 = hashlib.sha256(content).hexdigest()
    messages: list[tuple[dict[str, Any], bytes]] = [
        ({"type": "have", "sha256s": [sha256, "a" * 64]}, b""),
        ({"type": "put", "blob": sha256, "size": len(content), "offset": 0}, content),
        ({"type": "get", "blob": sha256, "offset": 0}, b""),
        ({"type": "get", "blob": sha256, "offset": 2**63}, b""),
        ({"type": "facts"}, b""),
        ({"type": "job", "spec": JOB}, b""),
        ({"type": "beat"}, b""),
        ({"type": "cancel", "id": "job-1"}, b""),
    ]
    hello = {"type": "hello", "protocol": PROTOCOL, "agent": "a" * 64}
    owner = {
        "id": "job-0", "pid": 4194305, "start": 7, "boot_id": "b", "host": "h",
        "worker": {"pid": 4194305, "start": 7},
    }  # fmt: skip
    kept = {
        "lock": owner,
        "requests/job-1": {"heard_s": 1.0, "cancel": False},
        "results/job-1/result.json": {"id": "job-1", "status": "ok", "networks": []},
        "clocks.json": {"before": {"power_mode": None, "clocks": {}}, "boot_id": "b"},
        "journal": {"event": "begun", "id": "job-0"},
    }
    number = 0

    def attempt(random: Random) -> None:
        nonlocal number
        number += 1
        home = place / str(number % 4)
        home.mkdir(mode=0o700, exist_ok=True)
        spool = Spool(str(home))
        if random.randrange(2):
            name = random.choice(list(kept))
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(of_json(random, kept[name]))
        sent = bytearray(frames.encode(hello))
        for _ in range(random.randrange(1, 6)):
            header, payload = random.choice(messages)
            if random.randrange(2):
                header = odd(random, header)
                if not isinstance(header, dict):
                    continue
            text = json.dumps(header).encode()
            head = frames._PREFIX.pack(frames.MAGIC, len(text), 0) + text
            if payload and random.randrange(2):
                try:
                    head = frames.encode(header, payload)
                except Exception:  # noqa: BLE001  (what cannot be sent is not sent)
                    continue
            sent += head
        if random.randrange(6) == 0:
            sent = bytearray(of_bytes(random, bytes(sent)))
        program, sys.argv[0] = sys.argv[0], __file__  # an agent tells the hash of its own file
        source, ours = os.pipe()
        answered, sink = os.pipe()
        try:
            os.set_blocking(answered, False)
            os.write(ours, bytes(sent[:60_000]))
            os.close(ours)
            Session(Channel(source, sink), spool, "/").run()
        finally:
            sys.argv[0] = program
            for descriptor in (source, answered, sink):
                os.close(descriptor)
            for leftover in kept:
                (home / leftover).unlink(missing_ok=True)

    return attempt


def decoded(place: Path) -> Try:
    """Return the door of a message's bytes."""
    good = frames.encode({"type": "put", "blob": "a" * 64, "size": 3, "offset": 0}, b"abc")

    def attempt(random: Random) -> None:
        decoder = frames.Decoder()
        if random.randrange(2):
            text = of_json(random, {"type": "hello", "facts": FACTS, "odd": random.choice(STRANGE)})
            decoder.feed(struct.pack(">8sIQ", frames.MAGIC, len(text), 0) + text)
        else:
            decoder.feed(of_bytes(random, good))

    return attempt


DOORS: dict[str, Callable[[Path], Try]] = {
    "answers": answers,
    "store": store,
    "onnx-reader": onnx_reader,
    "session": session,
    "frames": decoded,
}
