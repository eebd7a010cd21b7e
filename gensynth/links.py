"""Say what is wrong where `gensynth.export`, `bench` or `devices` is not there.

Their code stands beside `gensynth/`; the relative links gensynth/export -> ../export and so on
make it one package. A checkout made without symbolic links (core.symlinks false, a ZIP unpacked
by a tool that does not know them) lacks them, and so does what is installed from it. Python
would then only say "No module named 'gensynth.export'".
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from gensynth.errors import LinkError

LINKED = ("export", "bench", "devices")
"""The folders of the package that are links in a checkout."""


class Explainer:
    """A last finder: asked only for what no other finder found, it explains or declines."""

    def __init__(self, package: Path) -> None:
        self.package = package

    def find_spec(
        self,
        fullname: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return None for everything but a lost link.

        Raises:
            LinkError: for `gensynth.export` and the like, with what to do about it.
        """
        parent, _, name = fullname.partition(".")
        if parent != "gensynth" or name not in LINKED:
            return None
        link = self.package / name
        raise LinkError(
            f"{link} must be a link to ../{name}, got {_what_is(link)}; in a checkout run: "
            f"ln -sfn ../{name} {link} (or clone again with: git clone -c core.symlinks=true), "
            "then install again if gensynth was installed from it",
            name=fullname,
        )


def explain_lost_links(package: Path) -> None:
    """Install the finder if one of the links of the package at this path is lost."""
    if not all((package / name).is_dir() for name in LINKED):
        sys.meta_path.append(Explainer(package))


def _what_is(link: Path) -> str:
    if link.is_symlink():
        return "a link that leads nowhere"
    return "a file" if link.exists() else "nothing"
