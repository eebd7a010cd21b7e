"""What is asked of a device: refused here if it cannot be meant, else what the agent takes."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gensynth.bench.grades import GRADES, find_grade
from gensynth.bench.request import Request, parse_inputs, parse_modes, parse_shapes
from gensynth.bench.subjects import Subject, find, read
from gensynth.devices.agent.wire.spec import blobs_of, check_spec
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.profiles import find_profile
from gensynth.devices.registry import LOCAL, Device
from gensynth.errors import ConfigError
from tests.onnx_files.written import convolution

TX2 = Device("tx2", "nvidia@192.168.55.1", profile="jetson-tx2")


def subject(path: Path, batch: int | None = None) -> Subject:
    return read(find([path])[0], batch=batch)


@pytest.fixture
def net(tmp_path: Path) -> Subject:
    return subject(convolution(tmp_path / "net.onnx"))


def request(*subjects: Subject, device: Device = LOCAL, grade: str = "quick") -> Request:
    return Request(device, subjects, find_grade(grade))


@pytest.mark.parametrize("grade", [grade.name for grade in GRADES])
@pytest.mark.parametrize("device", [LOCAL, TX2], ids=lambda d: d.alias)
def test_the_agent_takes_every_job(net: Subject, device: Device, grade: str) -> None:
    asked = request(net, net, device=device, grade=grade)
    if grade != "quick":
        asked = replace(asked, energy=True)
    if device is TX2:
        asked = replace(asked, precision="fp16", power_mode=2)
    spec, blobs = asked.job()
    assert check_spec(spec) == spec
    assert sorted(blobs) == blobs_of(spec)
    assert all(hashlib.sha256(content).hexdigest() == sha for sha, content in blobs.items())


def test_clocks_are_left_alone_unless_asked_for(net: Subject) -> None:
    asked = request(net, device=TX2)
    assert asked.job()[0]["clocks"] is None
    modes = replace(asked, power_mode=1).job()[0]
    assert modes["clocks"] == {"power_mode": 1, "lock": True}
    locked = replace(asked, lock_clocks=True).job()[0]
    assert locked["clocks"] == {"power_mode": None, "lock": True}


def test_every_job_is_a_new_one_of_the_same_key(net: Subject) -> None:
    asked = request(net)
    assert asked.job()[0]["id"] != asked.job()[0]["id"]
    assert asked.key("here") == request(net).key("here")


def test_whatever_is_asked_otherwise_is_another_request(net: Subject, tmp_path: Path) -> None:
    other = subject(convolution(tmp_path / "other.onnx", seed=1))
    plain = request(net, device=TX2, grade="standard")
    keys = [
        plain.key("here"),
        plain.key("there"),
        request(net, device=TX2).key("here"),
        request(other, device=TX2, grade="standard").key("here"),
        request(net, other, device=TX2, grade="standard").key("here"),
        request(other, net, device=TX2, grade="standard").key("here"),
        replace(plain, subjects=(replace(net, feed={"images": net.feed["images"] + 1}),)).key(
            "here"
        ),
    ]
    changes = (
        {"precision": "fp16"}, {"threads": 2}, {"energy": True}, {"power_mode": 0},
        {"power_mode": 1}, {"lock_clocks": True},
    )  # fmt: skip
    keys += [replace(plain, **change).key("here") for change in changes]
    assert len(set(keys)) == len(keys)


def test_the_devices_names_for_networks_are_ids_and_differ(tmp_path: Path, net: Subject) -> None:
    names = ["FermiNet-A", "ferminet a", "../../etc", "; rm -rf /", "é", "x" * 100]
    asked = request(*(replace(net, name=name) for name in names))
    assert asked.ids == ("ferminet-a", "ferminet-a-2", "etc", "rm-rf", "network", "x" * 48)
    spec = asked.job()[0]
    check_spec(spec)
    spec["networks"][1]["id"] = spec["networks"][0]["id"]
    with pytest.raises(Fault, match="must have different ids"):
        check_spec(spec)


def test_networks_of_two_batch_sizes_are_not_compared(tmp_path: Path, net: Subject) -> None:
    two = subject(convolution(tmp_path / "two.onnx", batch=2))
    with pytest.raises(ConfigError, match="one batch size, got net 1, two 2"):
        request(net, two)


def test_what_the_board_cannot_do_is_refused_before_the_way_to_it(net: Subject) -> None:
    with pytest.raises(ConfigError, match="no INT8 on Jetson TX2.*no INT8 dot product"):
        Request(TX2, (net,), find_grade("quick"), precision="int8")
    with pytest.raises(ConfigError, match="power modes 0 MAXN, 1 MAXQ.*; got 9"):
        Request(TX2, (net,), find_grade("quick"), power_mode=9)
    pi = Device("pi", "pi@pi", profile="raspberry-pi-4")
    with pytest.raises(ConfigError, match="no energy on Raspberry Pi 4: the board has no power"):
        Request(pi, (net,), find_grade("standard"), energy=True)
    with pytest.raises(ConfigError, match="grade quick takes no energy"):
        Request(TX2, (net,), find_grade("quick"), energy=True)
    with pytest.raises(ConfigError, match="no clocks to lock"):
        Request(LOCAL, (net,), find_grade("quick"), lock_clocks=True)


def test_more_networks_than_a_job_holds_are_refused(net: Subject) -> None:
    with pytest.raises(ConfigError, match="at most 64 networks in turns, got 65"):
        request(*[net] * 65)


def test_shapes_as_a_person_writes_them() -> None:
    assert parse_shapes(["x=1,3,48,320", "a=b=2", "sr="]) == {
        "x": (1, 3, 48, 320), "a=b": (2,), "sr": ()
    }  # fmt: skip
    for text in ("x", "=1", "x=1,a", "x=0", "x=-1"):
        with pytest.raises(ConfigError, match="a shape is NAME=SIZE,SIZE"):
            parse_shapes([text])


def claims_petabytes() -> bytes:
    """The head of an array that no memory holds."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 47,)}
    )
    return head.getvalue()


def test_inputs_as_a_person_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.arange(3))
    assert parse_inputs([f"x={file}"])["x"].tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="an input is NAME=FILE.npy, got 'x'"):
        parse_inputs(["x"])
    with pytest.raises(ConfigError, match="cannot read absent.npy: No such file"):
        parse_inputs(["x=absent.npy"])
    for content in (b"\x80\x04not an array", claims_petabytes()):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="no array that numpy.save has written"):
            parse_inputs([f"x={file}"])
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="cannot read .*x.npy: it must be a plain file"):
        parse_inputs([f"x={file}"])


def test_power_modes_as_a_person_writes_them() -> None:
    profile = find_profile("local")
    assert parse_modes(None, profile) == [None]
    with pytest.raises(ConfigError, match="has no power modes to set, got 0"):
        parse_modes("0", profile)
    with pytest.raises(ConfigError, match="nvpmodel's numbers such as 0,1,2, got .x,0."):
        parse_modes("x,0", profile)
    assert parse_modes("2, 0", find_profile("jetson-tx2")) == [2, 0]
