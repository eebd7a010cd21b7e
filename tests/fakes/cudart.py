"""CUDA's runtime library, compiled from the functions that are called."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places import FAKES


@pytest.fixture(scope="session")
def libcudart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled from the functions that are called."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    source = FAKES / "fake_cudart.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    return path
