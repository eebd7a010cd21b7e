"""The package is laid out as CONTRIBUTING.md says: links, one-way imports, small modules."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gensynth
from gensynth.links import LINKED, Finder
from tests.places import ROOT, TESTS

PACKAGE = ROOT / "gensynth"

# Lower never imports higher; within a room, and between rooms of one place, imports are free.
ROOMS = (
    ("",),  # the files at the top
    ("graph",),
    ("network",),
    ("trace", "prototypes"),
    ("space", "data"),
    ("goals",),
    ("tasks",),
    ("training",),
    ("probing",),
    ("search",),
    ("export", "bench", "devices"),
    ("runs",),
    ("uses",),
    ("render",),
    ("front", "cli"),
)
PLACE = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
AGENT_ROOMS = ("__init__", "wire", "power", "board", "runtimes", "measuring", "session")
AT_THE_TOP = {"__init__", "__main__"}
"""They stand for the whole package: what they import, they import late."""

MOST_FILES, MOST_FILES_AT_THE_TOP = 28, 15

# Beside the rooms of what they test: networks, stand-ins for devices and tools, ONNX files, and
# what tries the code and the tests themselves.
TEST_ROOMS = {"agent", "networks", "fakes", "onnx_files", "fuzz", "mutations"}
TEST_FILES = sorted(TESTS.rglob("*.py"))


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, links followed once."""
    paths = [*PACKAGE.rglob("*.py")]
    for name in LINKED:
        paths += [PACKAGE / name / p.relative_to(ROOT / name) for p in (ROOT / name).rglob("*.py")]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted(set(paths))}


MODULES = modules()
AGENT = "gensynth.devices.agent."
NEWER_THAN_3_6 = {"_pyrepl", "contextvars", "dataclasses", "graphlib", "tomllib", "zoneinfo"}


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"relative import in line {node.lineno}"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.args[0]
            if called == "import_module" and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def run(code: str, *options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("name", LINKED)
def test_the_linked_folders_are_part_of_the_package(name: str) -> None:
    link = PACKAGE / name
    assert link.is_dir(), (
        f"{link} must be a link to ../{name}: run ln -sfn ../{name} {link}, or clone again "
        "with git clone -c core.symlinks=true"
    )
    if (ROOT / name).exists():  # not so in an unpacked sdist, where the folder itself is there
        assert str(link.readlink()) == f"../{name}"
        assert (link / "__init__.py").is_file()


def test_nothing_needs_explaining_where_the_links_are() -> None:
    assert not any(isinstance(finder, Finder) for finder in sys.meta_path)


def lose_wholly(link: Path) -> None:
    assert not link.exists()


def lose_as_text(link: Path) -> None:
    link.write_text(f"../{link.name}")  # what git writes with core.symlinks=false


def lose_target(link: Path) -> None:
    link.symlink_to(f"../{link.name}")


@pytest.mark.parametrize(
    ("lose", "what"),
    [
        (lose_wholly, "got nothing"),
        (lose_as_text, "got a file"),
        (lose_target, "got a link that leads nowhere"),
    ],
)
@pytest.mark.parametrize("name", LINKED)
def test_a_lost_link_is_explained(
    tmp_path: Path, name: str, lose: Callable[[Path], None], what: str
) -> None:
    package = tmp_path / "gensynth"
    package.mkdir()
    for module in ("__init__", "errors", "links"):
        shutil.copy(PACKAGE / f"{module}.py", package)
    lose(package / name)
    # -S: an editable installation would find the checkout's own links.
    done = run(f"import gensynth.{name}", "-S", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"gensynth.errors.LinkError: {package / name} must be a link to ../{name}, {what}; "
        f"in a checkout run: ln -sfn ../{name} {package / name} "
    )
    # The command line catches the first, a program that tries an import the second.
    done = run(
        f"""
import gensynth.errors
for kind in (gensynth.errors.GensynthError, ImportError):
    try:
        import gensynth.{name}
    except kind as error:
        assert error.name == "gensynth.{name}"
try:
    import gensynth.absent
except ModuleNotFoundError as error:
    print(error)
""",
        "-S",
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("No module named 'gensynth.absent'\n", "")


def test_a_checkout_without_links_takes_the_folders_beside_it(tmp_path: Path) -> None:
    package = tmp_path / "gensynth"
    package.mkdir()
    for module in ("__init__", "errors", "links"):
        shutil.copy(PACKAGE / f"{module}.py", package)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "export").mkdir()
    (tmp_path / "export/__init__.py").touch()
    (tmp_path / "export/inner.py").write_text("VALUE = 3\n")
    lose_as_text(package / "export")
    done = run("import gensynth.export.inner as i; print(i.VALUE, i.__name__)", "-S", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("3 gensynth.export.inner\n", "")


def test_every_package_of_the_wheel_is_named() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.removesuffix(".__init__") for name in MODULES if name.endswith(".__init__")}
    assert sorted(setuptools["packages"]) == sorted(packages)


def test_the_package_itself_imports_none_of_its_parts() -> None:
    tree = ast.parse(MODULES["gensynth.__init__"].read_text())
    at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for _, name in imports(ast.Module(list[ast.stmt](at_import), []))}
    assert {name for name in names if name.startswith("gensynth")} == {
        "gensynth.links.stand_in_for_lost_links"
    }


def room(parts: list[str]) -> str:
    """The room of a module, whose dotted name without "gensynth" is split in parts."""
    return parts[0] if parts[0] in PLACE else ""


@pytest.mark.parametrize(
    "module",
    [n for n in MODULES if not n.startswith(AGENT) and n.split(".")[1] not in AT_THE_TOP],
)
def test_imports_go_one_way(module: str) -> None:
    own = room(module.split(".")[1:])
    for line, imported in imports(ast.parse(MODULES[module].read_text())):
        top, _, rest = imported.partition(".")
        if top == "gensynth" and rest not in ("", "__version__"):
            target = room(rest.split("."))
            assert PLACE[target] <= PLACE[own], f"line {line}: {own} imports {imported}"


def test_every_folder_is_a_room_that_says_what_is_in_it() -> None:
    folders = {p.parent for p in PACKAGE.rglob("*.py")} | {PACKAGE / name for name in LINKED}
    rooms = {folder.relative_to(PACKAGE).parts[0] for folder in folders if folder != PACKAGE}
    assert rooms == PLACE.keys() - {""}
    for name in sorted(rooms | {f"devices/agent/{name}" for name in AGENT_ROOMS[1:]}):
        described = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))
        for file in (PACKAGE / name).glob("*.py"):
            assert file.stem == "__init__" or file.stem in str(described), f"{name}: {file.stem}"


def test_no_folder_is_too_full_to_see() -> None:
    tracked = [path.relative_to(ROOT) for path in MODULES.values()]
    counts = Counter(path.parent for path in tracked)
    assert counts.pop(Path("gensynth")) <= MOST_FILES_AT_THE_TOP
    assert {str(folder): n for folder, n in counts.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(AGENT)])
def test_the_agent_imports_the_standard_library_alone(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for line, imported in imports(ast.Module([statement], [])):
                standard = imported.split(".")[0] in sys.stdlib_module_names - NEWER_THAN_3_6
                assert standard or imported.startswith(AGENT), f"line {line}: {imported}"
    own = [name for _, name in imports(tree) if name.split(".")[0] == "gensynth"]
    assert [name for name in own if not name.startswith(AGENT)] == []
    place = AGENT_ROOMS.index(module.removeprefix(AGENT).split(".")[0])
    rooms = [name.removeprefix(AGENT).split(".")[0] for name in own]
    assert [room for room in rooms if AGENT_ROOMS.index(room) > place] == []


@pytest.mark.parametrize(
    "module",
    [
        "gensynth",
        "gensynth.graph.graph",
        "gensynth.config_file",
        "gensynth.graph.cost",
        "gensynth.cli.app",
    ],
)
def test_importing_does_not_import_torch(module: str) -> None:
    done = run(f"import sys, {module}; print(sorted({{'torch', 'onnx'}} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_small_and_says_what_it_is(module: str) -> None:
    text = MODULES[module].read_text()
    assert ast.get_docstring(ast.parse(text)), "the first statement must be a docstring"
    assert len(text.splitlines()) <= 400, "split it by subject"
    assert not {"utils", "helpers", "common", "misc", "base"} & set(module.split("."))


@pytest.mark.parametrize("module", [name for name in MODULES if name != "gensynth.cli.app"])
def test_only_the_command_line_prints(module: str) -> None:
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert lines == []


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.py")), ids=str)
def test_an_experiment_imports_no_test(path: Path) -> None:
    names = [name for _, name in imports(ast.parse(path.read_text()))]
    assert [name for name in names if ".test_" in name] == []


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_imports_no_other_test_module(path: Path) -> None:
    names = [name for _, name in imports(ast.parse(path.read_text()))]
    assert [name for name in names if re.match(r"tests\.(.*\.)?(test_|conftest)", name)] == []


def test_tests_stand_in_the_rooms_of_what_they_test() -> None:
    counts = Counter(path.parent.relative_to(TESTS) for path in TEST_FILES)
    rooms = {str(folder) for folder in counts if len(folder.parts) == 1}
    assert rooms <= PLACE.keys() | TEST_ROOMS
    agents = {folder.name for folder in counts if folder.parts[:1] == ("agent",)} - {"agent"}
    assert agents <= set(AGENT_ROOMS)
    assert {str(folder): n for folder, n in counts.items() if n > MOST_FILES} == {}


def test_the_version_is_a_plain_number() -> None:
    # setuptools reads it from the source text without importing the package.
    assert [part.isdecimal() for part in gensynth.__version__.split(".")] == [True, True, True]
