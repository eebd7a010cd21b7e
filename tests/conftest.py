"""What holds for every test: no network, no traces in the user's home, two skips.

`gpu` tests are skipped without a CUDA device, `device` tests unless GENSYNTH_TEST_DEVICE names
a registered board.
"""

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# The time of one example says nothing on a shared machine; the examples are the same each run.
settings.register_profile("gensynth", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("gensynth")


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches, configuration and data go to a temporary folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """A connection that leaves this machine fails the test that makes it."""
    connect = socket.socket.connect

    def refuse_outside(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test connects to {host}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse_outside)
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if item.get_closest_marker("device") and "GENSYNTH_TEST_DEVICE" not in os.environ:
        pytest.skip("GENSYNTH_TEST_DEVICE names no board")
