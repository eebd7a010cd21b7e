"""Say what is wrong where `gensynth.export`, `bench` or `devices` is not there.

Their code stands beside `gensynth/`; the relative links gensynth/export -> ../export and so on
make it one package. A checkout made without symbolic links (core.symlinks false, a ZIP unpacked
by a tool that does not know them) lacks them, and so does what is installed from it. Python
would then only say "No module named 'gensynth.export'".

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


class Explainer:
    """A last finder: asked only for what no other finder found, it explains or declines."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self,
        fullname: str,
        _path: "Sequence[str] | None" = None,
        _target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Return None for everything but a lost link.

        Raises:
            LinkError: for `gensynth.export` and the like, with what to do about it.
        """
        parent, _, name = fullname.partition(".")
        if parent != "gensynth" or name not in LINKED:
            return None
        from gensynth.errors import LinkError

        link = os.path.join(self.package, name)  # noqa: PTH118
        raise LinkError(
            f"{link} must be a link to ../{name}, got {_what_is(link)}; in a checkout run: "
            f"ln -sfn ../{name} {link} (or clone again with: git clone -c core.symlinks=true), "
            "then install again if gensynth was installed from it",
            name=fullname,
        )


def explain_lost_links(package: str) -> None:
    """Install the finder if one of the links of the package at this path is lost."""
    if not all(os.path.isdir(os.path.join(package, name)) for name in LINKED):  # noqa: PTH112, PTH118
        sys.meta_path.append(Explainer(package))


def _what_is(link: str) -> str:
    if os.path.islink(link):  # noqa: PTH114
        return "a link that leads nowhere"
    return "a file" if os.path.exists(link) else "nothing"  # noqa: PTH110
