"""Find `gensynth.export`, `bench` and `devices` where a checkout has lost its links to them.

Their code stands beside `gensynth/`; the relative links gensynth/export -> ../export and so on
make it one package for editors and type checkers, and an installed gensynth has it in its place.
A checkout made without symbolic links (core.symlinks false, a ZIP unpacked by a tool that does
not know them) lacks the links: then the folders beside it are taken. Where they are not there
either, Python would only say "No module named 'gensynth.export'".

Every `import gensynth` begins here, so that nothing slower than `os.path` is imported.
"""

import os.path
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

LINKED = ("export", "bench", "devices")
"""The folders of the package that are links in a checkout."""


class Finder:
    """A last finder: asked only for what no other finder found, it finds, explains or declines."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self,
        fullname: str,
        _path: "Sequence[str] | None" = None,
        _target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Return what stands beside the package for a lost link, None for everything else.

        Raises:
            LinkError: for `gensynth.export` and the like where nothing does, with what to do.
        """
        parent, _, name = fullname.partition(".")
        if parent != "gensynth" or name not in LINKED:
            return None
        beside = os.path.join(os.path.dirname(self.package), name)  # noqa: PTH118, PTH120
        if _is_checkout(os.path.dirname(self.package)) and os.path.isdir(beside):  # noqa: PTH112, PTH120
            from importlib.util import spec_from_file_location

            start = os.path.join(beside, "__init__.py")  # noqa: PTH118
            return spec_from_file_location(fullname, start, submodule_search_locations=[beside])
        from gensynth.errors import LinkError

        link = os.path.join(self.package, name)  # noqa: PTH118
        raise LinkError(
            f"{link} must be a link to ../{name}, got {_what_is(link)}; in a checkout run: "
            f"ln -sfn ../{name} {link} (or clone again with: git clone -c core.symlinks=true), "
            "then install again if gensynth was installed from it",
            name=fullname,
        )


def stand_in_for_lost_links(package: str) -> None:
    """Install the finder if one of the links of the package at this path is lost."""
    if not all(os.path.isdir(os.path.join(package, name)) for name in LINKED):  # noqa: PTH112, PTH118
        sys.meta_path.append(Finder(package))


def _is_checkout(folder: str) -> bool:
    """Return whether folders beside the package are ours, and not another distribution's."""
    return os.path.isfile(os.path.join(folder, "pyproject.toml"))  # noqa: PTH113, PTH118


def _what_is(link: str) -> str:
    if os.path.islink(link):  # noqa: PTH114
        return "a link that leads nowhere"
    return "a file" if os.path.exists(link) else "nothing"  # noqa: PTH110
