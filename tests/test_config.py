"""The run file: read, refused, resolved, and written so that it reads back equal."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from gensynth.config import (
    DataConfig,
    DeviceConfig,
    FinalistsConfig,
    PrototypeConfig,
    RunConfig,
    SearchConfig,
)
from gensynth.config_file import assigned, read, to_toml
from gensynth.errors import ConfigError

EXAMPLE = """
requirements = ["top1 >= 89%", "macs <= 20M"]
utility = "netscore"
seed = 7
out = "runs/a"

[prototype]
network = "resnet20"
weights = "../weights/resnet20.safetensors"

[data]
source = "cifar10"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 1]

[search]
cycles = 24
learn_weights = false
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_file_says_what_it_sets_and_leaves_the_rest_at_the_defaults(tmp_path: Path) -> None:
    config = read(write(tmp_path, EXAMPLE))
    assert config.requirements == ("top1 >= 89%", "macs <= 20M")
    assert config.seed == 7
    assert config.prototype.network == "resnet20"
    assert config.data.std == (0.25, 0.25, 1.0)
    assert config.search == SearchConfig(cycles=24, learn_weights=False)
    assert config.finalists == FinalistsConfig()


def test_no_file_and_no_options_are_the_defaults() -> None:
    assert read() == RunConfig()


def test_paths_in_a_file_are_relative_to_it_and_those_of_options_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write(tmp_path / "there", 'out = "run"\n[data]\nsource = "./photos"\nfolder = "/abs"')
    config = read(path)
    assert config.out == tmp_path / "there" / "run"
    assert config.data.source == str(tmp_path / "there" / "photos")
    assert config.data.folder == Path("/abs")
    config = read(Path("../there/run.toml"), {"out": Path("mine"), "prototype.weights": "w"})
    assert config.out == tmp_path / "here" / "mine"
    assert config.prototype.weights == tmp_path / "here" / "w"
    assert config.data.folder == Path("/abs")


def test_options_win_over_the_file_and_none_is_not_given(tmp_path: Path) -> None:
    config = read(
        write(tmp_path, EXAMPLE),
        {"seed": 9, "search.cycles": 3, "search.images": None, "requirements": ("top1 > 1%",)},
    )
    assert (config.seed, config.search.cycles, config.search.learn_weights) == (9, 3, False)
    assert config.search.images == SearchConfig().images
    assert config.requirements == ("top1 > 1%",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[search]\ncycle = 3",
            "run.toml: unknown key 'cycle' in [search]; did you mean 'cycles'?",
        ),
        (
            "requirement = []",
            "run.toml: unknown key 'requirement'; did you mean 'requirements'?",
        ),
        ("[serch]\ncycles = 3", "run.toml: unknown table [serch]; did you mean '[search]'?"),
        ("cycles = 3", "run.toml: unknown key 'cycles'; it belongs in [search]"),
        (
            "[search]\nutility = 'netscore'",
            "run.toml: unknown key 'utility' in [search]; it belongs above the first table",
        ),
        (
            "[data]\nepochs = 3",
            "run.toml: unknown key 'epochs' in [data]; it belongs in [prototype] or [finalists]",
        ),
        (
            "[search]\ncycles = 'twelve'",
            'run.toml: cycles in [search] must be a whole number, got "twelve"',
        ),
        (
            "[search]\ncycles = 3.0",
            "run.toml: cycles in [search] must be a whole number, got 3.0",
        ),
        (
            "[search]\ncycles = true",
            "run.toml: cycles in [search] must be a whole number, got true",
        ),
        ("[search]\ncycles = 0", "run.toml: cycles in [search] must be greater than 0, got 0"),
        (
            "[search]\nrisk = 1.5",
            "run.toml: risk in [search] must be less than or equal to 1, got 1.5",
        ),
        (
            "[search]\nrisk = nan",
            "run.toml: risk in [search] must be a finite number, got NaN",
        ),
        (
            "[search]\nlearn_weights = 1",
            "run.toml: learn_weights in [search] must be true or false, got 1",
        ),
        (
            "requirements = 'top1 >= 89%'",
            'run.toml: requirements must be a list, got "top1 >= 89%"',
        ),
        (
            "requirements = [89]",
            "run.toml: each value of requirements must be text in quotes, got 89",
        ),
        ("out = 3", "run.toml: out must be text in quotes, got 3"),
        ("seed = -1", "run.toml: seed must be greater than or equal to 0, got -1"),
        ("search = 3", "run.toml: [search] must be a table, got 3"),
        (
            "utility = 2026-01-01",
            'run.toml: utility must be text in quotes, got {"date": "2026-01-01"}',
        ),
        (
            "[data]\ncolour = 'rbg'",
            "run.toml: colour in [data] must be 'rgb', 'bgr' or 'grey', got \"rbg\"",
        ),
        (
            "[data]\nmean = [0.5]",
            "run.toml: mean and std must be given together, got one of them in [data]",
        ),
        (
            "[data]\nmean = [0.5]\nstd = [0.5, 0.5]",
            "run.toml: mean and std must have one value a channel each, got 1 and 2 in [data]",
        ),
        (
            "[data]\nmean = [0.5]\nstd = [0]",
            "run.toml: each value of std in [data] must be greater than 0, got 0",
        ),
        (
            "[device.tx2]\nprecison = 'fp16'",
            "run.toml: unknown key 'precison' in [device.tx2]; did you mean 'precision'?",
        ),
        (
            "[device.tx2]\nprecision = 'fp8'",
            "run.toml: precision in [device.tx2] must be 'fp32', 'fp16' or 'int8', got \"fp8\"",
        ),
        (
            "[device.tx2]\nbatch = 0",
            "run.toml: batch in [device.tx2] must be greater than 0, got 0",
        ),
        (
            "[device]\nprecision = 'fp16'",
            (
                "run.toml: device must be the name of a device, a list of names, or a table "
                '[device.NAME] for each, got {"precision": "fp16"}'
            ),
        ),
        (
            "device = 3",
            (
                "run.toml: device must be the name of a device, a list of names, or a table "
                "[device.NAME] for each, got 3"
            ),
        ),
        ("devices = ['tx2']", "run.toml: unknown key 'devices'; did you mean 'device'?"),
        ("devce = 'tx2'", "run.toml: unknown key 'devce'; did you mean 'device'?"),
        ("seed = \nout = 3", "run.toml: Invalid value (at line 1, column 8)"),
        (
            "seed = 1\n[search]\ncycles = 3\n[search]\n",
            "run.toml: Cannot declare ('search',) twice (at line 4, column 8)",
        ),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_is_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(write(tmp_path, text))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["device=3"], "device must be the name of a device, a list of names, or a table"),
        (["device.tx2=3"], "device must be the name of a device, a list of names, or a table"),
        (["devices=tx2"], "unknown key 'devices'; did you mean 'device'"),
        (["search=3", "search.cycles=4"], "'search' is given a value, and 'search.cycles' a key"),
    ],
)
def test_what_is_set_of_devices_and_tables_is_refused_in_our_words(
    texts: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(None, assigned(texts))
    assert read(None, assigned(["device=tx2"])).devices == {"tx2": DeviceConfig()}


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("", {}),
        ("device = 'tx2'", {"tx2": DeviceConfig()}),
        ("device = ['tx2', 'local']", {"tx2": DeviceConfig(), "local": DeviceConfig()}),
        (
            "[device.tx2]\nprecision = 'fp16'\npower_mode = 2\n[device.jetson-nano]",
            {"tx2": DeviceConfig(precision="fp16", power_mode=2), "jetson-nano": DeviceConfig()},
        ),
    ],
)
def test_devices_are_a_name_names_or_tables(
    tmp_path: Path, text: str, devices: dict[str, DeviceConfig]
) -> None:
    assert read(write(tmp_path, text)).devices == devices


def test_devices_of_options_take_the_place_of_the_files_and_keep_their_tables(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "[device.tx2]\nprecision = 'fp16'\n[device.nano]\n")
    given = read(path, {"devices": ["tx2", "orin"]}).devices
    assert given == {"tx2": DeviceConfig(precision="fp16"), "orin": DeviceConfig()}
    assert list(read(path, {"devices": None}).devices) == ["tx2", "nano"]


def test_every_fault_is_named_at_once_and_an_option_is_not_blamed_on_the_file(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(write(tmp_path, "seed = 'x'"), {"search.cycles": 0, "search.image": 1})
    assert sorted(str(refusal.value).splitlines()) == [
        "cycles in [search] must be greater than 0, got 0",
        'run.toml: seed must be a whole number, got "x"',
        "unknown key 'image' in [search]; did you mean 'images'?",
    ]


def test_an_option_does_not_hide_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[search\] must be a table, got 3"):
        read(write(tmp_path, "search = 3"), {"search.cycles": 5})


@pytest.mark.parametrize(("mark", "end"), [(b"", b"\r\n"), (b"\xef\xbb\xbf", b"\n")])
def test_a_file_that_an_editor_on_windows_wrote_is_read(
    mark: bytes, end: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(mark + EXAMPLE.encode().replace(b"\n", end))
    assert read(path) == read(write(tmp_path, EXAMPLE))


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path)
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: must be text in UTF-8"):
        read(path)
    path.write_text("seed = " + "[" * 100_000)
    with pytest.raises(ConfigError, match=r"binary\.toml: "):
        read(path)


def test_the_python_api_refuses_the_same_values() -> None:
    with pytest.raises(ConfigError, match="cycles in .search. must be greater than 0, got 0"):
        SearchConfig(cycles=0)
    with pytest.raises(ConfigError, match="given together"):
        DataConfig(mean=(0.5,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 3  # type: ignore[misc]


def test_the_defaults_read_back_from_their_own_run_file(tmp_path: Path) -> None:
    assert read(write(tmp_path, to_toml(RunConfig()))) == RunConfig()


def test_every_key_is_explained_in_its_tables_docstring() -> None:
    tables = [f.type for f in dataclasses.fields(RunConfig) if dataclasses.is_dataclass(f.type)]
    for table in [RunConfig, DeviceConfig, *tables]:
        said = inspect.getdoc(table)  # which has no indentation, whatever the Python
        assert said is not None
        for field in dataclasses.fields(table):
            if field.type not in tables:
                assert f"\n    {field.name}: " in said, field.name


def test_reading_a_run_file_does_not_import_torch() -> None:
    code = "import sys, gensynth.config_file as r; r.read(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_paths_of_a_python_configuration_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    config = RunConfig(
        out=Path("run"),
        modules=(Path("own"),),
        prototype=PrototypeConfig(weights=Path("a/b.safetensors")),
        data=DataConfig(source="cifar10", folder=Path("../cifar")),
    )
    monkeypatch.chdir("/")
    assert config.out == tmp_path / "run"
    assert config.modules == (tmp_path / "own",)
    assert config.prototype.weights == tmp_path / "a" / "b.safetensors"
    assert config.data.folder == tmp_path / ".." / "cifar"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("pets", "{here}/pets"),  # is there
        ("dogs", "dogs"),  # is not, and so a name
        ("./dogs", "{here}/dogs"),
        ("cifar10", "cifar10"),  # is there, and the name of a built-in data set
        ("./cifar10", "{here}/cifar10"),
        ("own.data:make", "own.data:make"),
        ("object:a/b", "object:a/b"),
    ],
)
def test_a_source_is_a_folder_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: str
) -> None:
    for name in ("pets", "cifar10"):
        (tmp_path / name).mkdir()
    (tmp_path / "run.toml").write_text(f'[data]\nsource = "{source}"\n')
    assert read(tmp_path / "run.toml").data.source == found.format(here=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert DataConfig(source=source).source == found.format(here=tmp_path)


def test_the_quickstart_is_the_default_run_file() -> None:
    config = RunConfig()
    assert config.search.full_networks == 1
    assert not dataclasses.replace(config).prototype.train
