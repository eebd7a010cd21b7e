import subprocess
import sys

import numpy as np
import pytest

from gensynth.randomness import stream


def test_a_stream_is_philox_keyed_by_sha256_of_its_path() -> None:
    # printf '7/views/3' | sha256sum begins 877ffe8696ac956327a0f1df6f0fe1e6; the key is these
    # 16 bytes, the least significant first.
    key = int.from_bytes(bytes.fromhex("877ffe8696ac956327a0f1df6f0fe1e6"), "little")
    expected = np.random.Generator(np.random.Philox(key=key)).random(5)
    assert stream(7, "views", 3).random(5).tolist() == expected.tolist()


def test_asking_twice_gives_the_same_draws() -> None:
    assert stream(1, "a", 2).random(4).tolist() == stream(1, "a", 2).random(4).tolist()


@pytest.mark.parametrize(
    "other", [(2, "a", 1, 1), (1, "b", 1, 1), (1, "a", 11), (1, "a", 1), (1, "a", 1, 1, 0)]
)
def test_seed_purpose_and_indices_each_tell_streams_apart(other: tuple[int, str]) -> None:
    assert stream(1, "a", 1, 1).random() != stream(*other).random()


def test_other_streams_do_not_disturb_one() -> None:
    one = stream(0, "one")
    first = one.random()
    stream(0, "two").random(100)
    assert [first, one.random()] == stream(0, "one").random(2).tolist()


def test_another_process_draws_the_same() -> None:
    code = "from gensynth.randomness import stream; print(stream(3, 'x', 1).integers(0, 2**62))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == stream(3, "x", 1).integers(0, 2**62)
