"""Check that an archive holds every file of the package, and nothing else of ours.

    python .ci/check_wheel.py dist/gensynth-0.1.0-py3-none-any.whl
    python .ci/check_wheel.py dist/gensynth-0.1.0.tar.gz

The truth is what git lists under gensynth/, export/, bench/ and devices/; the last three stand
under gensynth/ in a wheel, and beside it in an sdist as in a checkout.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

LINKED = ("export", "bench", "devices")


def expected(root: Path) -> dict[str, bytes]:
    """Return the content of every file of the package, by its place in it."""
    # New files that are not committed yet count as well; in a clone there are none.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    command += ["gensynth", *LINKED]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    places = {}
    for name in filter(None, listed.split("\0")):
        if (root / name).is_symlink():
            continue  # one of the three links
        place = name if name.startswith("gensynth/") else f"gensynth/{name}"
        places[place] = (root / name).read_bytes()
    return places


def contents(archive: Path) -> dict[str, bytes]:
    """Return the content of every file under gensynth/ in a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            files = {name: wheel.read(name) for name in wheel.namelist()}
    else:
        files = {}
        with tarfile.open(archive) as sdist:
            for member in sdist:
                file = sdist.extractfile(member) if member.isfile() else None
                if file is not None:
                    place = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                    if place.parts[0] in LINKED:
                        place = "gensynth" / place
                    files[str(place)] = file.read()
    return {name: content for name, content in files.items() if name.startswith("gensynth/")}


def main(archive: str) -> None:
    """Compare and say every difference."""
    wanted, found = expected(Path(__file__).parent.parent), contents(Path(archive))
    differences = [
        *(f"lacks {name}" for name in sorted(wanted.keys() - found.keys())),
        *(f"has {name}, which git does not list" for name in sorted(found.keys() - wanted.keys())),
        *(
            f"has another {name}"
            for name in sorted(wanted.keys() & found.keys())
            if wanted[name] != found[name]
        ),
    ]
    for difference in differences:
        print(f"{archive} {difference}")
    if differences:
        sys.exit(1)
    print(f"{archive}: all {len(wanted)} files of the package")


if __name__ == "__main__":
    main(*sys.argv[1:])
