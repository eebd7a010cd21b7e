"""`gensynth devices` as a person types it, with a real board behind ssh."""

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gensynth.cli.app import app
from gensynth.devices import registry
from gensynth.devices.check import Checked, Finding
from gensynth.devices.check import check as examine
from gensynth.devices.profiles import find_profile
from gensynth.devices.registry import LOCAL, Device
from gensynth.render.devices import checked
from tests.fakes.board import Board

pytestmark = pytest.mark.usefixtures("agent_home")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "folder", lambda: tmp_path / "config" / "gensynth")
    monkeypatch.setenv("COLUMNS", "80")


def devices(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["devices", *words], input=answer, catch_exceptions=False)


def unregistered(board: Board) -> list[str]:
    """What one gives `add` for a board, which is not registered any more."""
    registry.remove(board.device.alias)
    return ["tx2", str(board.device.destination), "--python", board.device.python]


def test_the_list_begins_with_this_machine_and_says_how_to_add_another() -> None:
    assert devices("list").stdout == (
        "name   profile  reached by\n"
        "local  local    this machine\n"
        "\n"
        "add a board: gensynth devices add tx2 nvidia@192.168.55.1\n"
    )


def test_a_board_is_added_once_its_fingerprint_is_taken(board: Board) -> None:
    words = unregistered(board)
    done = devices("add", *words, answer="y\n")
    assert done.exit_code == 0
    assert board.host_key.fingerprint in done.stderr
    assert "Is it the machine that you mean?" in done.stderr
    assert done.stdout.splitlines()[-2:] == [  # the runner echoes the answer before them
        "'tx2' is registered as generic",
        "what works there: gensynth devices check tx2",
    ]
    assert registry.find("tx2").destination == board.device.destination
    assert "tx2" in devices("list").stdout
    assert devices("check", "tx2").exit_code == 0
    assert devices("remove", "tx2").stdout == "'tx2' is no longer registered\n"
    assert "tx2" not in registry.known_hosts().read_text()
    assert board.leftovers() == []


def test_a_board_whose_fingerprint_is_not_taken_is_not_registered(board: Board) -> None:
    done = devices("add", *unregistered(board), answer="n\n")
    assert done.exit_code == 2
    assert done.stderr.endswith("error: 'tx2' is not registered\n")
    assert [device.alias for device in registry.all_devices()] == ["local"]


@pytest.mark.slow
def test_where_nobody_can_answer_the_fingerprint_is_given(board: Board) -> None:
    words = unregistered(board)
    done = devices("add", *words, answer="")
    own = board.host_key.fingerprint
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith(f"again with --fingerprint {own}")
    wrong = devices("add", *words, "--fingerprint", "SHA256:" + "A" * 43)
    assert wrong.exit_code == 2
    assert f"shows the host key {own}, not SHA256:AAAA" in wrong.stderr
    assert devices("add", *words, "--fingerprint", own).exit_code == 0


def test_a_taken_name_is_refused_before_the_machine_is_asked() -> None:
    done = devices("add", "local", "user@nowhere.invalid")
    assert (done.exit_code, done.stderr) == (
        2, "error: 'local' is this machine already; choose another alias\n"
    )  # fmt: skip


def test_a_machine_that_does_not_answer_is_not_registered() -> None:
    done = devices("add", "tx2", "user@nowhere.invalid")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: user@nowhere.invalid did not answer: ")
    assert len(done.stderr.splitlines()) == 1
    assert [device.alias for device in registry.all_devices()] == ["local"]


def test_a_board_that_takes_no_key_is_registered_with_the_way_to_mend_it(board: Board) -> None:
    board.make_key("another")
    board.accept("another")
    done = devices("add", *unregistered(board), "--fingerprint", board.host_key.fingerprint)
    assert done.exit_code == 0
    assert "note: it does not answer yet:" in done.stderr
    assert "ssh-copy-id" in done.stderr
    check = devices("check", "tx2")
    assert check.exit_code == 2
    assert "ssh-copy-id" in check.stderr


def test_what_works_on_this_machine_fits_one_screen() -> None:
    done = devices("check")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0] == "local: this machine's processor"
    assert any(line.startswith("works runtime  onnxruntime ") for line in lines)
    assert lines[-1] == "measure: gensynth bench NET.onnx --device local"


def test_a_name_that_is_not_registered_is_refused_with_the_command_that_adds_it() -> None:
    for words in (("check", "tx2"), ("remove", "tx2")):
        done = devices(*words)
        assert (done.exit_code, done.stderr) == (
            2, "error: no device named 'tx2'; add it with: gensynth devices add tx2 USER@HOST\n"
        )  # fmt: skip


def test_a_board_is_recognised_by_what_it_calls_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: Board
) -> None:
    root = tmp_path / "root"
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_text("NVIDIA Jetson TX2 Developer Kit\0")
    board.configure(SetEnv=board.surroundings(root))
    words = unregistered(board)
    done = devices("add", *words, "--fingerprint", board.host_key.fingerprint)
    assert done.stdout.splitlines()[0] == "'tx2' is registered as jetson-tx2"
    assert registry.find("tx2").profile == "jetson-tx2"
    found = examine(registry.find("tx2"))
    assert found.simulated
    assert checked(found).startswith("SIMULATED tx2: Jetson TX2")
    if not any(f.works for f in found.findings if "tensorrt" in f.said or "trtexec" in f.said):
        assert "-> for its GPU install TensorRT's Python package" in checked(found)


@pytest.mark.parametrize("word", ["add", pytest.param("check", marks=pytest.mark.slow)])
def test_a_board_is_known_by_its_serial_number_from_then_on(
    tmp_path: Path, board: Board, word: str
) -> None:
    number = tmp_path / "root/proc/device-tree/serial-number"
    number.parent.mkdir(parents=True)
    number.write_text("0324717900123\0")
    board.configure(SetEnv=board.surroundings(tmp_path / "root"))
    alias = board.device.alias
    if word == "add":
        alias = "tx2"
        devices("add", *unregistered(board), "--fingerprint", board.host_key.fingerprint)
    else:
        assert devices("check", alias).exit_code == 0
    digest = hashlib.sha256(b"gensynth serial 0324717900123").hexdigest()
    assert registry.find(alias).serial == digest[:16]
    assert registry.find(alias).added_utc is not None  # which a chart begins with
    number.write_text("0324717900124\0")
    done = devices("check", alias)
    assert done.exit_code == 2
    assert f"{alias} must be the board that was registered" in done.stderr
    assert f"gensynth devices remove {alias}, then add it again" in done.stderr


def test_what_fails_comes_with_what_mends_it_and_lines_to_copy() -> None:
    findings = (
        Finding("runtime", False, "trtexec: there is none", "install TensorRT"),
        Finding("clocks", False, "needs root", "put in:", ("nvidia ALL=(root) NOPASSWD: /x -m 0",)),
        Finding("energy", None, "the board has no power sensor"),
    )
    device = Device("pi", "pi@pi")
    assert checked(Checked(device, find_profile("raspberry-pi-4"), findings, False)) == (
        "pi: Raspberry Pi 4\n"
        "fails runtime  trtexec: there is none\n"
        "               -> install TensorRT\n"
        "fails clocks   needs root\n"
        "               -> put in:\n"
        "  nvidia ALL=(root) NOPASSWD: /x -m 0\n"
        "none  energy   the board has no power sensor\n"
        "nothing can be measured there until a runtime works"
    )
    assert not Checked(LOCAL, find_profile("local"), findings, False).can_measure
