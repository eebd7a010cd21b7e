"""Code that only a run folder names does not run before its user says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from gensynth.config import DataConfig, PrototypeConfig, RunConfig, TaskConfig
from gensynth.errors import ConfigError
from gensynth.runs import trust

OWN = RunConfig()


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder in which nothing is noted."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))
    return tmp_path / "data home" / "gensynth"


def naming(source: str = "fashion-mnist", network: str = "resnet8") -> RunConfig:
    return replace(OWN, data=DataConfig(source=source), prototype=PrototypeConfig(network=network))


def test_what_is_built_in_or_an_object_names_no_code() -> None:
    assert trust.named_code(naming()) == {}
    assert trust.named_code(naming("object:mine", "object:Net")) == {}


def test_all_that_would_be_imported_is_named() -> None:
    config = replace(naming("a:data", "b:Net"), task=TaskConfig(train="c:train"))
    assert sorted(trust.named_code(config).values()) == ["a:data", "b:Net", "c:train"]


def test_a_folder_of_images_with_a_colon_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    assert trust.named_code(naming("a:b")) == {}


def test_where_code_lies_belongs_to_the_word(tmp_path: Path) -> None:
    mine = replace(naming("toy:data"), modules=(tmp_path / "mine",))
    theirs = replace(naming("toy:data"), modules=(tmp_path / "theirs",))
    trust.note(mine)
    trust.require(mine, Path("run"), trust=False)
    with pytest.raises(ConfigError, match=f"toy:data in {tmp_path / 'theirs'} as its data set"):
        trust.require(theirs, Path("run"), trust=False)


def test_code_of_a_folder_needs_a_word_once(data_folder: Path) -> None:
    config = naming("evil:data")
    for _ in range(2):
        with pytest.raises(ConfigError, match="evil:data as its data set"):
            trust.require(config, Path("theirs"), trust=False)
    trust.require(config, Path("theirs"), trust=True)
    trust.require(config, Path("theirs"), trust=False)
    assert (data_folder / "named-code.txt").read_text() == "evil:data\n"
    assert (data_folder / "named-code.txt").stat().st_mode & 0o077 == 0


def test_code_that_was_named_for_a_run_of_ones_own_needs_none() -> None:
    trust.note(naming("mine:data"))
    trust.require(naming("mine:data"), Path("mine"), trust=False)
    with pytest.raises(ConfigError, match="others:data"):
        trust.require(naming("others:data"), Path("theirs"), trust=False)
