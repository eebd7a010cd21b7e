"""This machine's facts, from a made-up system and from the real one."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import onnxruntime

from gensynth.devices.local import facts
from tests.places import ROOT


def test_a_systems_files_are_read(tmp_path: Path) -> None:
    # Lines as Linux 6.1 writes them.
    write(
        tmp_path / "proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763\nmodel\t: 1\n",
    )
    write(tmp_path / "proc/meminfo", "MemTotal:       16393216 kB\nMemFree:  12 kB\n")
    write(tmp_path / "proc/loadavg", "1.25 0.80 0.55 2/345 6789\n")
    write(tmp_path / "etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
    frequency = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    write(frequency / "scaling_governor", "performance\n")
    write(frequency / "scaling_min_freq", "1500000\n")
    write(frequency / "scaling_max_freq", "2450000\n")
    found = facts(tmp_path)
    assert found["processor"] == "AMD EPYC 7763"
    assert found["memory_mib"] == 16009  # 16393216 / 1024 = 16009.0
    assert found["load"] == 1.25
    assert found["system"] == "Debian GNU/Linux 12"
    assert found["governor"] == "performance"
    assert found["frequency_mhz"] == [1500, 2450]


def test_a_system_without_these_files_says_none(tmp_path: Path) -> None:
    found = facts(tmp_path)
    for name in ("governor", "frequency_mhz", "load", "memory_mib"):
        assert found[name] is None, name
    assert found["python"] == platform.python_version()


def test_files_with_something_else_in_them_say_none(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", "MemTotal: many\n")
    write(tmp_path / "proc/loadavg", "\n")
    write(tmp_path / "proc/cpuinfo", "\udcff model name\n".encode("utf-8", "surrogateescape"))
    (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").mkdir(parents=True)
    found = facts(tmp_path)
    assert [found[name] for name in ("memory_mib", "load", "governor")] == [None, None, None]


def test_this_machines_facts_are_json_and_true() -> None:
    found = json.loads(json.dumps(facts(), allow_nan=False))
    assert found["onnxruntime"] == onnxruntime.__version__
    assert found["architecture"] == platform.machine()
    assert found["cores"] >= 1


def test_the_facts_do_not_import_torch_or_a_runtime() -> None:
    code = (
        "import sys; from gensynth.devices.local import facts; facts(); "
        "print(sorted({'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
