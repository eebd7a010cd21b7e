"""Any run file that is written reads back equal, whatever its words and numbers are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.config import DataConfig, DeviceConfig, FinalistsConfig, RunConfig, SearchConfig
from gensynth.config_file import read, to_toml

PIXELS = st.integers(1, 10**6)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    channels = draw(st.integers(0, 4))
    moments = draw(st.booleans())
    return RunConfig(
        requirements=tuple(draw(st.lists(TEXT, max_size=3))),
        utility=draw(TEXT),
        seed=draw(st.integers(0, 2**64 - 1)),
        out=draw(st.none() | st.just(Path('/tmp/a "b"\\c\n\x7f'))),
        data=DataConfig(
            source=draw(TEXT.filter(lambda text: "/" not in text)),
            size=draw(st.none() | PIXELS | st.tuples(PIXELS, PIXELS)),
            mean=tuple(draw(NUMBER) for _ in range(channels)) if moments else None,
            std=tuple(draw(POSITIVE) for _ in range(channels)) if moments else None,
            colour=draw(st.sampled_from(["rgb", "bgr", "grey"])),
        ),
        search=SearchConfig(risk=draw(st.floats(0, 1)), learn_weights=draw(st.booleans())),
        finalists=FinalistsConfig(epochs=draw(POSITIVE)),
        devices=draw(
            st.dictionaries(
                st.sampled_from(["tx2", "jetson-nano"]) | TEXT,
                st.builds(
                    DeviceConfig,
                    precision=st.sampled_from(["fp32", "fp16", "int8"]),
                    batch=st.integers(1, 64),
                    power_mode=st.none() | st.integers(0, 9),
                    profile=st.none() | TEXT,
                ),
                max_size=3,
            )
        ),
    )


@given(config=configs())
def test_any_run_file_that_is_written_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, config: RunConfig
) -> None:
    path = tmp_path_factory.getbasetemp() / "run.toml"
    path.write_bytes(to_toml(config).encode())
    assert read(path) == config
