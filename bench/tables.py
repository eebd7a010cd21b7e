"""The tables of the store of measurements, and how a file of an older version gains the newer ones.

    jobs, networks, raw     of version 1
    doubts                  of version 2
    plans, kernels          of version 3

Triggers refuse every change and removal. What each table holds is said in `store`.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gensynth.errors import StoreError

VERSION = 3
_MENDS = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "look whether its disk is full or failing",
    sqlite3.SQLITE_CANTOPEN: "look whether its folder can be written",
    sqlite3.SQLITE_READONLY: "make it writable",
    sqlite3.SQLITE_BUSY: "another program holds it; end that, then try again",
    sqlite3.SQLITE_LOCKED: "another program holds it; end that, then try again",
}
_TABLES = """
create table jobs (
    job_id text primary key,
    request_key text not null,
    started_utc text not null,
    device text not null,
    serial_hash text,
    grade text not null,
    status text not null,
    provenance text not null check (provenance in ('measured', 'simulated')),
    record text not null
);
create index jobs_by_request on jobs (request_key, started_utc);
create table networks (
    job_id text not null references jobs,
    place integer not null,
    name text not null,
    onnx_sha256 text not null,
    structure_sha256 text not null,
    device text not null,
    serial_hash text,
    runtime text not null,
    runtime_version text,
    precision text not null,
    threads integer not null,
    power_mode text,
    clocks text,
    batch integer not null,
    grade text not null,
    scope text not null,
    p50_ms real not null check (p50_ms > 0),
    mean_ms real not null check (mean_ms > 0),
    j_per_img real check (j_per_img > 0),
    rail text,
    primary key (job_id, place)
);
create index networks_by_structure on networks (structure_sha256, device);
create table raw (sha256 text primary key, content blob not null);
"""
_TABLES_OF_2 = """
create table doubts (
    job_id text primary key references jobs,
    found_by text not null references jobs
);
"""
_TABLES_OF_3 = """
create table plans (sha256 text primary key, kernels text not null);
create table kernels (
    job_id text not null references jobs,
    place integer not null,
    plan text not null references plans,
    kernel_ms text,
    primary key (job_id, place)
);
create index networks_by_file on networks (onnx_sha256);
create index networks_by_machine on networks (runtime, serial_hash);
"""


def bring_up(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables that a file does not have yet, within the transaction that is open.

    Raises:
        StoreError: if a later version has written it.
    """
    (version,) = database.execute("pragma user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"{path} has version {version}, this version reads {VERSION}; move it away"
        )
    statements: list[str] = []
    if version < 1:
        statements += [*_TABLES.split(";\n"), *_guards("jobs", "networks", "raw")]
    if version < 2:
        statements += [*_TABLES_OF_2.split(";\n"), *_guards("doubts")]
    if version < VERSION:
        statements += [*_TABLES_OF_3.split(";\n"), *_guards("plans", "kernels")]
        statements.append(f"pragma user_version = {VERSION}")
    for statement in statements:
        database.execute(statement)


def _guards(*tables: str) -> Iterator[str]:
    for table in tables:
        for act in ("update", "delete"):
            yield (
                f"create trigger {table}_{act} before {act} on {table} "
                "begin select raise(abort, 'measurements are only appended'); end"
            )


def networks_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the networks of a record, those measured from pixels to answer behind the others."""
    found = list(record["networks"])
    return found + [n["end_to_end"] for n in found if n["end_to_end"] is not None]


def row_of(record: Mapping[str, Any], place: int, network: Mapping[str, Any]) -> list[Any]:
    """Return a network's row of `networks`."""
    device, request, energy = record["device"], record["request"], network["energy"] or {}
    return [
        record["job_id"], place, network["name"], network["onnx_sha256"],
        network["structure_sha256"], device["alias"], device["serial_hash"],
        record["runtime"]["path"], record["runtime"]["version"], network["precision"],
        request["threads"], _json(device["power_mode"]), _json(record["clocks"]["during"]),
        network["batch"], request["grade"], network["latency"]["scope"],
        network["latency"]["p50_ms"], network["latency"]["mean_ms"],
        energy.get("j_per_img"), energy.get("rail"),
    ]  # fmt: skip


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)


def without(flags: Sequence[str]) -> str:
    """Return the condition that a record has none of some flags."""
    one_of = f"value in ({places(len(flags))})"
    return f"not exists (select 1 from json_each(record, '$.flags') where {one_of})"


def places(count: int) -> str:
    """Return so many places of values."""
    return ", ".join("?" * count)


def mend(error: sqlite3.Error | UnicodeDecodeError) -> str:
    """Return what to do about an error; only a damaged file is to be moved away."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "if it is damaged, move it away"
    return _MENDS.get(code & 0xFF, "if it is damaged, move it away")
