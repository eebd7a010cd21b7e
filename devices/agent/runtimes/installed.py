"""Which versions of what measures are installed, without importing any of it.

Importing TensorRT takes a small board seconds and memory; the folder in which a package keeps
its metadata has its version in its name. A session itself sees no installed packages, so a child
looks for them, as the worker of a job would find them.
"""

import json
import os
import re
import subprocess
from typing import Dict, List

from gensynth.devices.agent.runtimes.trtexec import find_trtexec
from gensynth.devices.agent.wire import processes
from gensynth.devices.agent.wire.status import Fault

LOOK_S = 20.0
_METADATA = re.compile(
    r"(onnxruntime(?:[_-]gpu)?|tensorrt|pycuda|numpy)-([^-]+?)(?:-py[\d.]+)?\.(?:dist|egg)-info\Z",
    re.IGNORECASE,
)
_LOOK = (
    "from gensynth.devices.agent.runtimes import installed; "
    "sys.stdout.write(installed.look(sys.path))"
)


def installed(root: str = "/") -> Dict[str, str]:
    """Return the version of each package of a runtime, and size and age of trtexec.

    What is not there, or cannot be told, is left out.
    """
    found = _packages()
    try:
        state = os.stat(find_trtexec(root))
    except (Fault, OSError):
        return found
    return dict(found, trtexec="{} bytes of {}".format(state.st_size, int(state.st_mtime)))


def look(folders: List[str]) -> str:
    """Return the versions that folders of packages hold, the first of each, as JSON."""
    found: Dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for match in filter(None, map(_METADATA.match, names)):
            found.setdefault(match.group(1).lower().replace("-", "_"), match.group(2))
    return json.dumps(found)


def _packages() -> Dict[str, str]:
    try:
        done = subprocess.run(
            processes.command(_LOOK),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LOOK_S,
        )
        return dict(json.loads(done.stdout.decode("utf-8", "replace")))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
