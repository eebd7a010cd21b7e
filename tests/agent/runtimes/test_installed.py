"""Versions of runtimes are told without importing them."""

import json
from importlib.metadata import version
from pathlib import Path

from gensynth.devices.agent.runtimes.installed import installed, look


def test_the_versions_are_those_of_the_packages_metadata() -> None:
    found = installed()
    assert found["onnxruntime"] == version("onnxruntime")
    assert found["numpy"] == version("numpy")


def test_the_first_folder_counts_as_it_does_for_an_import(tmp_path: Path) -> None:
    for folder, names in {
        "user": ["onnxruntime_gpu-1.11.0.dist-info", "numpy-1.13.3.egg-info"],
        "system": ["numpy-1.19.4.dist-info", "tensorrt-8.2.1.8.dist-info", "numpydoc-1.0.dist-info",
                   "pycuda-2021.1-py3.6.egg-info"],
    }.items():  # fmt: skip
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
    folders = [str(tmp_path / name) for name in ("absent", "user", "system")]
    assert json.loads(look(folders)) == {
        "onnxruntime_gpu": "1.11.0", "numpy": "1.13.3", "tensorrt": "8.2.1.8", "pycuda": "2021.1",
    }  # fmt: skip


def test_trtexec_that_was_replaced_is_another(tmp_path: Path) -> None:
    program = tmp_path / "usr/src/tensorrt/bin/trtexec"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"one")
    program.chmod(0o755)
    before = installed(str(tmp_path))["trtexec"]
    program.write_bytes(b"another")
    assert installed(str(tmp_path))["trtexec"] != before
