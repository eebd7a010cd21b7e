"""`module:attribute` gives the object, or an error that says which part is not there."""

import importlib.util
import sys
from pathlib import Path

import pytest

from gensynth.errors import ConfigError
from gensynth.references import import_object


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory, under a name used once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"mine_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(
        "class Nets:\n    @staticmethod\n    def small():\n        return 7\n\nbuild = Nets.small\n"
    )
    return name


def test_a_module_in_the_working_directory_is_found(own: str) -> None:
    assert import_object(f"{own}:build", "prototype")() == 7


def test_a_dotted_attribute_is_followed(own: str) -> None:
    assert import_object(f"{own}:Nets.small", "prototype")() == 7


def test_an_installed_module_is_found() -> None:
    assert import_object("os.path:join", "prototype") is __import__("os").path.join


@pytest.mark.parametrize(
    "reference", ["build", "mine.py:build", "mine:", ":build", "a b:c", "../m:c"]
)
def test_another_form_is_refused_with_an_example(reference: str) -> None:
    with pytest.raises(ConfigError, match="named as module:attribute, such as mymodule:build"):
        import_object(reference, "prototype")


def test_a_misspelt_attribute_names_the_nearest(own: str) -> None:
    with pytest.raises(ConfigError, match="has no 'buld'; did you mean 'build'"):
        import_object(f"{own}:buld", "prototype")


def test_a_misspelt_module_names_the_nearest_beside_it(own: str) -> None:
    with pytest.raises(ConfigError, match=rf"no module '{own}x' .* did you mean '{own}'"):
        import_object(f"{own}x:build", "training function")


def test_a_misspelt_submodule_names_the_nearest_in_its_package() -> None:
    with pytest.raises(ConfigError, match=r"no module 'json\.decode' .* did you mean 'decoder'"):
        import_object("json.decode:JSONDecoder", "prototype")


def test_what_the_users_module_lacks_is_named_as_its_import(own: str, tmp_path: Path) -> None:
    (tmp_path / f"{own}_needy.py").write_text("import timm_is_not_here\n")
    with pytest.raises(ConfigError, match="imports 'timm_is_not_here', which is not installed"):
        import_object(f"{own}_needy:build", "prototype")


def test_an_error_within_the_users_module_keeps_its_own_kind(own: str, tmp_path: Path) -> None:
    (tmp_path / f"{own}_broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_object(f"{own}_broken:build", "prototype")


def test_files_beside_the_users_module_stand_in_for_nothing_installed(
    own: str, tmp_path: Path
) -> None:
    (tmp_path / "sched.py").write_text("")  # of the standard library, too
    import_object(f"{own}:build", "prototype")
    found = importlib.util.find_spec("sched")
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).parent != tmp_path


def test_what_the_users_module_imports_later_is_found(own: str, tmp_path: Path) -> None:
    (tmp_path / f"{own}_later.py").write_text("VALUE = 8\n")
    (tmp_path / f"{own}_first.py").write_text(
        f"def build():\n    import {own}_later\n    return {own}_later.VALUE\n"
    )
    assert import_object(f"{own}_first:build", "prototype")() == 8


def test_for_what_is_built_in_nothing_is_looked_for_here(own: str) -> None:
    before = list(sys.path)
    import_object("gensynth.graph.cost:cost", "prototype")
    assert sys.path == before
