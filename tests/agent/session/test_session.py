"""What an agent answers to what no host of ours sends, and what a host makes of such an agent."""

import contextlib
import json
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensynth.devices import package
from gensynth.devices.agent.wire import frames
from gensynth.devices.agent.wire.frames import Frame
from gensynth.devices.client import connect
from gensynth.devices.link import Link
from gensynth.devices.protocol import PROTOCOL
from gensynth.devices.registry import LOCAL
from gensynth.errors import DeviceFault
from tests.fakes.agent_results import FACTS
from tests.fakes.board import Home
from tests.onnx_files import errands

HOSTILE = [
    "; rm -rf ~",
    "$(reboot)",
    "`reboot`",
    "../../.ssh/authorized_keys",
    "/etc/passwd",
    "-oProxyCommand=reboot",
    ".",
    "..",
    "",
    "a" * 65,
    "a\n",
    "a\x00",
    "A",
    "é",
    "\u202e",
    "con:",
    7,
    None,
    ["a"],
    {"a": 1},
]


class Session:
    """An agent here, asked by raw messages."""

    def __init__(self) -> None:
        self.link = Link(LOCAL, package.agent(), timeout_s=20.0)
        self.greet()

    def greet(self, **changes: Any) -> Frame:
        """The answer to a hello."""
        sha256 = package.agent().sha256
        hello = {"type": "hello", "protocol": PROTOCOL, "agent": sha256, **changes}
        return self.ask(hello)

    def ask(self, header: dict[str, Any], payload: bytes = b"") -> Frame:
        """The answer to a message."""
        self.link.channel.send(header, payload)
        return self.answer()

    def answer(self) -> Frame:
        """The next message."""
        frame = self.link.receive(20.0)
        assert frame is not None
        return frame

    def refuses(self, header: dict[str, Any], payload: bytes = b"") -> str:
        """Why a message cannot be meant."""
        answer, _ = self.ask(header, payload)
        assert (answer["type"], answer["status"]) == ("fault", "protocol_error")
        return str(answer["message"])

    def job(self, errand: errands.Errand, **changes: Any) -> str:
        """Why a job cannot be meant."""
        return self.refuses({"type": "job", "spec": errand.spec | changes})


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Home]]:
    """A session that goes on for all that it must survive, and its folder."""
    home = Home(tmp_path_factory.mktemp("agent-home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENSYNTH_AGENT_HOME", str(home.path))
        session = Session()
    yield session, home
    session.link.close()
    assert home.leftovers() == []


@pytest.fixture
def session(begun: tuple[Session, Home]) -> Iterator[Session]:
    """A session that still answers after the test."""
    yield begun[0]
    assert begun[0].ask({"type": "facts"})[0]["type"] == "facts"


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_job_is_only_known_by_an_id(session: Session, name: object) -> None:
    errand = errands.good("job")
    assert "id of the job must be" in session.job(errand, id=name)
    (network,) = errand.spec["networks"]
    assert "id of networks" in session.job(errand, networks=[network | {"id": name}])


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_blob_is_only_known_by_its_hash(session: Session, name: object) -> None:
    digits = "must be 64 lower-case hexadecimal digits"
    assert digits in session.refuses({"type": "have", "sha256s": [name]})
    assert digits in session.refuses({"type": "get", "blob": name, "offset": 0})
    put = {"type": "put", "blob": name, "size": 1, "offset": 0}
    assert digits in session.refuses(put, b"x")


@pytest.mark.parametrize(
    "header",
    [
        {"type": "rm"},
        {"type": "__class__"},
        {"type": "have"},
        {"type": "have", "sha256s": "all"},
        {"type": "have", "sha256s": ["0" * 64] * 1025},
        {"type": "get", "blob": "0" * 64, "offset": 0},
        {"type": "get", "blob": "0" * 64, "offset": -1},
        {"type": "get", "blob": "0" * 64, "offset": True},
        {"type": "put", "blob": "0" * 64, "size": 1 << 62, "offset": 0},
        {"type": "put", "blob": "0" * 64, "size": -1, "offset": 0},
        {"type": "put", "blob": "0" * 64, "size": 1.0, "offset": 0},
        {"type": "put", "blob": "0" * 64, "size": 10, "offset": 5},
        {"type": "job"},
        {"type": "job", "spec": []},
        {"type": "job", "spec": {}},
    ],
    ids=lambda header: json.dumps(header)[:60],
)
def test_a_message_that_cannot_be_meant(session: Session, header: dict[str, Any]) -> None:
    assert session.refuses(header)


FIELDS = {
    "precision": "fp64",
    "runtimes": [],
    "threads": 0,
    "build_only": 1,
    "workspace_mib": 1.5,
    "timing": {"rounds": 1},
    "energy": {},
    "clocks": {"power_mode": -1, "lock": True},
    "limits": {"build_s": 1, "run_s": 1, "lease_s": 61},
    "networks": [],
    "surprise": 1,
}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_a_job_is_checked(session: Session, field: str) -> None:
    said = session.job(errands.good("job"), **{field: FIELDS[field]})
    assert field in said or field == "runtimes"


def test_the_networks_of_a_job_have_different_ids(session: Session) -> None:
    errand = errands.good("job")
    twice = errand.spec["networks"] * 2
    assert "must have different ids" in session.job(errand, networks=twice)


def test_a_job_whose_blobs_were_not_sent(session: Session) -> None:
    errand = errands.good("job")
    header, _ = session.ask({"type": "job", "spec": errand.spec})
    assert header["status"] == "protocol_error"
    assert set(header["details"]["missing"]) == set(errand.blobs)


def test_a_blob_with_another_hash_is_not_kept(begun: tuple[Session, Home]) -> None:
    session, home = begun
    sha256 = errands.sha256(b"right")
    put = {"type": "put", "blob": sha256, "size": 5, "offset": 0}
    assert sha256 in session.refuses(put, b"wrong")
    assert session.ask({"type": "have", "sha256s": [sha256]})[0]["sha256s"] == [sha256]
    assert session.ask(put, b"right")[0] == {"type": "stored", "blob": sha256}
    assert session.ask({"type": "have", "sha256s": [sha256]})[0]["sha256s"] == []
    assert [path.name for path in home.path.glob("blobs/*")] == [sha256]


def test_a_blob_comes_in_order_and_is_not_longer_than_was_said(session: Session) -> None:
    sha256 = errands.sha256(b"abcdef")
    put = {"type": "put", "blob": sha256, "size": 6}
    assert session.ask(put | {"offset": 0}, b"abc")[0]["type"] == "stored"
    assert "must begin at 3" in session.refuses(put | {"offset": 2}, b"def")
    assert "from its beginning" in session.refuses(put | {"offset": 3}, b"def")
    assert "end by 6" in session.refuses(put | {"offset": 0}, b"abcdefg")
    other = put | {"blob": "0" * 64, "offset": 3}
    assert session.ask(put | {"offset": 0}, b"abc")[0]["type"] == "stored"
    assert "from its beginning" in session.refuses(other, b"def")


def test_an_upload_that_another_begins_leaves_nothing(begun: tuple[Session, Home]) -> None:
    session, home = begun
    put = {"type": "put", "size": 6, "offset": 0}
    for name in (b"abcdef", b"ghijkl"):
        assert session.ask(put | {"blob": errands.sha256(name)}, name[:3])[0]["type"] == "stored"
    assert len(list(home.path.glob("blobs/.*"))) == 1
    rest = put | {"blob": errands.sha256(b"ghijkl"), "offset": 3}
    assert session.ask(rest, b"jkl")[0]["type"] == "stored"


def test_the_first_message_must_be_a_hello(agent_home: Home) -> None:
    link = Link(LOCAL, package.agent(), timeout_s=20.0)
    link.channel.send({"type": "facts"})
    frame = link.receive(20.0)
    assert frame is not None
    assert "must be a hello" in frame[0]["message"]
    with pytest.raises(DeviceFault):
        link.receive(20.0)
    assert agent_home.leftovers() == []


def test_another_version_of_the_protocol_is_refused(agent_home: Home) -> None:
    link = Link(LOCAL, package.agent(), timeout_s=20.0)
    link.channel.send({"type": "hello", "protocol": PROTOCOL + 1, "agent": "x"})
    frame = link.receive(20.0)
    assert frame is not None
    assert frame[0]["status"] == "version_mismatch"
    with pytest.raises(DeviceFault):
        link.receive(20.0)
    assert agent_home.leftovers() == []


PREFIX = struct.Struct(">8sIQ")
BROKEN = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "header too long": PREFIX.pack(frames.MAGIC, frames.HEADER_LIMIT + 1, 0),
    "payload too long": PREFIX.pack(frames.MAGIC, 2, 1 << 62),
    "no JSON": PREFIX.pack(frames.MAGIC, 3, 0) + b"{{{",
    "no object": PREFIX.pack(frames.MAGIC, 2, 0) + b"[]",
    "no type": PREFIX.pack(frames.MAGIC, 2, 0) + b"{}",
    "not finite": PREFIX.pack(frames.MAGIC, 24, 0) + b'{"type":"facts","a":NaN}',
    "a million deep": PREFIX.pack(frames.MAGIC, 1_000_000, 0) + b"[" * 1_000_000,
    "wrong hash": PREFIX.pack(frames.MAGIC, 14, 1) + b'{"type":"put"}' + b"x",
}


@pytest.mark.parametrize("what", BROKEN)
def test_bytes_that_are_no_message_end_the_session(agent_home: Home, what: str) -> None:
    session = Session()
    session.link.channel.send_bytes(BROKEN[what])
    header, _ = session.answer()
    assert (header["type"], header["status"]) == ("fault", "protocol_error")
    with pytest.raises(DeviceFault):
        session.answer()
    assert agent_home.leftovers() == []


def test_a_message_that_is_cut_ends_the_session(agent_home: Home) -> None:
    session = Session()
    session.link.channel.send_bytes(PREFIX.pack(frames.MAGIC, 100, 0) + b'{"type"')
    session.link.close()
    assert agent_home.leftovers() == []


@pytest.mark.parametrize("length", [1 << 20, 1 << 27])
def test_an_agent_needs_no_more_memory_the_more_rubbish_comes(
    agent_home: Home, length: int
) -> None:
    session = Session()
    pid = session.greet()[0]["pid"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    # One message, and some for the interpreter.
    limit = pages * resource.getpagesize() + (96 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(Exception):  # the agent may be gone before all is sent
        session.link.channel.send_bytes(b"\xff" * length)
    header, _ = session.answer()
    assert header["status"] == "protocol_error"
    session.link.close()
    assert agent_home.leftovers() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(kind=st.sampled_from("have put get job facts hello".split()), data=st.data())
def test_no_json_breaks_a_session(session: Session, kind: str, data: st.DataObject) -> None:
    names = st.sampled_from("sha256s blob size offset spec protocol agent".split())
    header = data.draw(st.dictionaries(names, JSON))
    if kind == "hello":
        header["protocol"] = PROTOCOL  # another would end the session, rightly
    answer, _ = session.ask(header | {"type": kind})
    assert answer["type"] in ("fault", kind, "missing", "stored")
    assert answer.get("status", "protocol_error") == "protocol_error"


# --- the host, and agents that are not ours


def agent_that_says(code: str, name: str = "") -> package.Agent:
    """An agent that greets as ours does, perhaps under another name, and then runs this."""
    return package.pack(
        {
            "__main__.py": f"""
import hashlib, os, struct, sys, time
sys.path.insert(0, sys.argv[0])
from gensynth.devices.agent.wire import frames
source, sink = os.fdopen(0, "rb", 0), os.fdopen(1, "wb", 0)
with open(sys.argv[0], "rb") as file:
    own = hashlib.sha256(file.read()).hexdigest()
frames.read(source)
hello = {{"type": "hello", "protocol": {PROTOCOL}, "agent": {name!r} or own, "pid": 1,
    "python": "3.6", "facts": {FACTS!r}, "home_free_mib": 100, "interrupted": None}}
frames.write(sink, hello)
def say(**header): frames.write(sink, header)
def hear(): return frames.read(source)[0]
{code}
""".encode(),
            **{
                path: content
                for path, content in package.sources().items()
                if path.endswith(("__init__.py", "frames.py", "status.py"))
            },
        }
    )


NO_BLOBS = "hear(); say(type='missing', sha256s=[]); hear(); "


def call_run(connection: Any) -> object:
    errand = errands.good("job")
    return connection.run(errand.spec, errand.blobs)


def call_blob(connection: Any) -> object:
    return connection.blob("0" * 64)


def call_facts(connection: Any) -> object:
    return connection.facts()


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("hear(); say(type='stored', blob='x')", call_facts),
        ("hear(); say(type='facts')", call_facts),
        ("hear(); say(type='facts', facts=[1])", call_facts),
        ("hear(); say(type='fault', status='splendid', message='m')", call_facts),
        ("hear(); say(type='fault', status='ok', message='m')", call_facts),
        ("hear(); say(type='fault')", call_facts),
        ("hear(); sink.write(b'no message at all')", call_facts),
        ("hear()\nwhile True: sink.write(bytes(1 << 20))", call_facts),
        ("hear(); say(type='missing', sha256s={})", call_run),
        (NO_BLOBS + "say(type='result')", call_run),
        (NO_BLOBS + "say(type='result', result={'id': 'other', 'status': 'ok'})", call_run),
        (NO_BLOBS + "say(type='result', result={'id': 'job', 'status': 'splendid'})", call_run),
        ("while hear(): frames.write(sink, dict(type='blob', size=1 << 50), b'x')", call_blob),
        ("hear(); frames.write(sink, dict(type='blob', size=1), b'x')", call_blob),
    ],
)
def test_an_agent_that_answers_oddly(
    agent_home: Home, code: str, call: Callable[[Any], object]
) -> None:
    odd = agent_that_says(code)
    with connect(LOCAL, agent=odd) as connection, pytest.raises(DeviceFault) as fault:
        call(connection)
    assert fault.value.status == "protocol_error"
    assert agent_home.leftovers() == []


def test_a_board_that_runs_another_agent_than_was_sent(agent_home: Home) -> None:
    with pytest.raises(DeviceFault) as fault, connect(LOCAL, agent=agent_that_says("", "old")):
        pass
    assert fault.value.status == "version_mismatch"
    assert "'old'" in fault.value.message
    assert agent_home.leftovers() == []


def test_a_host_asks_only_for_what_it_has(agent_home: Home) -> None:
    wanted = "say(type='missing', sha256s=['/etc/passwd', '0' * 64, 7])"
    seen = "say(type='fault', status='cancelled', message=hear()['type'])"
    odd = agent_that_says(f"hear(); {wanted}; {seen}")
    with connect(LOCAL, agent=odd) as connection, pytest.raises(DeviceFault) as fault:
        call_run(connection)
    assert fault.value.status == "protocol_error"
    assert "sha256s[0]" in fault.value.message  # and nothing is put
