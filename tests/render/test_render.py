"""What a person reads says what was measured, fits the terminal, and needs no colours."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from gensynth.data.description import described
from gensynth.errors import ConfigError
from gensynth.goals.certificate import Certificate
from gensynth.goals.figure import Figure
from gensynth.goals.score import Proportion
from gensynth.goals.verdicts import Verdict
from gensynth.render import figures
from gensynth.render.cycles import cycle_header, cycle_row
from gensynth.render.family import family
from gensynth.render.forecast import forecast
from gensynth.render.live import Left, Live, console
from gensynth.render.reach import reach
from gensynth.render.seeds import read_seeds
from gensynth.runs.ahead.forecast import Forecast, Part
from gensynth.runs.ahead.reach import Reach
from gensynth.runs.family import Drawn, Family
from gensynth.space.width_step import WidthStep
from tests.runs.tiny import bars

YES, OPEN = Verdict.SATISFIED, Verdict.UNKNOWN


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns and eight colours, whatever the tests run in."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.00 k"), (78_042, "78.0 k"), (999_499, "999 k"),
        (999_500, "1.00 M"), (3_996_672, "4.00 M"), (12_504_640, "12.5 M"),
        (4_100_000_000, "4.10 G"),
        (1_500_000_000_000, "1.50 T"),
    ],
)  # fmt: skip
def test_a_count_has_three_digits_and_a_decimal_suffix(number: int, text: str) -> None:
    assert figures.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.00"), (0.000012, "0.000012"), (0.0123, "0.0123"), (0.21, "0.210"),
        (0.9999, "1.00"), (2.5, "2.50"), (9.996, "10.0"), (99.96, "100"), (1234.6, "1,235"),
        (-2.5, "-2.50"),
    ],
)  # fmt: skip
def test_three_digits_are_kept_whatever_the_size(number: float, text: str) -> None:
    assert figures.digits(number) == text


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (
            Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate"),
            "~4.1 ms, 80 %: 3.3 to 5.2, estimate, 0 measurements",
        ),
        (
            Figure(123.4, (99.1, 150.0), (90.0, 160.0), "calibrated estimate", 1),
            "~120 ms, 80 %: 99 to 150, calibrated estimate, 1 measurement",
        ),
        (
            Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate", 3, ("GridSample",)),
            "~4.1 ms, 80 %: 3.3 to 5.2, estimate, 3 measurements, GridSample unknown",
        ),
        (Figure(4.1, (4.04, 4.16), (4.0, 4.2), "measured", 1), "4.10 ms (4.00 to 4.20)"),
        (
            Figure(4.1, (4.04, 4.16), (4.0, 4.2), "simulated", 1),
            "4.10 ms (4.00 to 4.20), simulated",
        ),
    ],
)
def test_an_estimate_never_looks_like_a_measurement(figure: Figure, text: str) -> None:
    assert figures.of_device(figure, "ms") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.04 s"), (2.34, "2.3 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"), (5423, "1 h 30 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_a_duration_never_says_sixty(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def entry(**changes: Any) -> dict[str, Any]:
    """One line of a journal."""
    return {
        "cycle": 3,
        "seed": 17,
        "macs": 3_979_648,
        "params": 21_404,
        "utility": 75.624,
        "predicted_top1_pct": [78.21, 84.06, 88.93],
        "top1_pct": 83.5333,
        "interval_pct": [81.57, 85.32],
        "promised_top1_pct": [85.02, 87.11, 88.96],
        "verdict": "unknown",
    } | changes


def test_the_cycles_table_fits_eighty_columns() -> None:
    lines = [cycle_header(80), cycle_row(entry(), 12, 80), cycle_row(entry(cycle=12), 12, 80)]
    assert lines == [
        "cycle       U          predicted           observed     MACs   params    require",
        " 3/12   75.62  84.1 [78.2, 88.9]  83.5 [81.6, 85.3]   3.98 M   21.4 k    unknown",
        "12/12   75.62  84.1 [78.2, 88.9]  83.5 [81.6, 85.3]   3.98 M   21.4 k    unknown",
    ]
    assert {len(line) for line in lines} == {80}


def test_a_hundred_cycles_fit_too() -> None:
    assert cycle_row(entry(cycle=100), 100, 80).startswith("  100   75.62  ")
    assert len(cycle_row(entry(cycle=7), 100, 80)) == 80


def test_a_wide_terminal_also_shows_what_the_verdict_judges() -> None:
    header, row = cycle_header(120), cycle_row(entry(verdict="satisfied"), 12, 120)
    end = header.index("distilled") + len("distilled")
    assert row[:end].endswith("87.1 [85.0, 89.0]")
    assert row.endswith("satisfied")
    assert len(header) == len(row) <= 120


def drawn(seed: int, **changes: Any) -> Drawn:
    values: dict[str, Any] = {
        "seed": seed,
        "folder": Path("runs/q/generated") / str(seed),
        "graph_sha256": f"{seed}",
        "costs": {"macs": 3_979_648, "params": 21_404},
        "predicted": (0.8502, 0.8711, 0.8896),
        "verdicts": {"top1 >= 87%": OPEN, "macs <= 4M": YES},
        "certificate": None,
        "search_score": None,
        "point_verdicts": None,
    }
    return Drawn(**(values | changes))


def test_a_family_is_a_row_a_seed() -> None:
    some = (drawn(8), drawn(9), drawn(10, graph_sha256="9"))
    text = family(Family(Path("runs/q/generated"), some, 2, 0.1234))
    assert text == (
        """\
seed          predicted    MACs  params  require
   8  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown
   9  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown
  10  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown

2 different among 3, of 2 architectures, median pairwise distance of relative widths 0.123
train and certify them with: the same command and --distil
no network is predicted to meet every requirement, and not all violate one
networks are in runs/q/generated/SEED"""
    )


def test_a_distilled_family_says_which_share_meets_the_requirements() -> None:
    # 2800 of 3200: as above. 11 of 12, one-sided 95 %: scipy's Wilson bound is 0.7018.
    tested = drawn(
        0,
        certificate=Certificate(Proportion("top1", 2800, 3200)),
        point_verdicts={"top1 >= 87%": YES, "macs <= 4M": YES},
    )
    text = family(
        Family(
            Path("runs/q/generated"), (tested,), 1, None,
            satisfied=11, judged=12, share_lower_bound=0.7018,
        )
    )  # fmt: skip
    assert text == (
        """\
seed          predicted             tested    MACs  params    require
   0  87.1 [85.0, 89.0]  87.5 [86.3, 88.6]  3.98 M  21.4 k  satisfied

1 different among 1, of 1 architecture
11 of 12 meet the requirements by point value: at least 70 % of all seeds do,
  at one-sided 95 % by Wilson's score interval, the seeds taken as independent draws
no network is shown to meet every requirement, and not all violate one
networks are in runs/q/generated/SEED"""
    )


REACH = Reach(
    prototype="resnet8", data="bars", description=tuple(described(bars())),
    certificate="180 test images are too few",
    costs={"macs": (120_000, 12_500_000), "params": (1_200, 78_042)},
    limits={"macs": 4_000_000}, figures={}, in_fp16=(), requirements=("top1 >= 87%", "macs <= 4M"),
    frozen_macs_share=0.0042, groups=tuple((f"stage{n}.0.conv1", 16) for n in range(6)),
    step=WidthStep(8, "the run file says so"), blocks=("stage1.0", "stage2.0"),
    substitutes=(("separable", 7), ("grouped_4", 1)), peak_lr=(None, None),
    training_bytes=3 << 29,
    training_parts=1,
    memory_bytes=8 << 30,
)  # fmt: skip


def test_what_can_be_reached_fits_eighty_columns_and_begins_with_the_data() -> None:
    assert reach(REACH, 80) == (
        """\
bars: 12 x 12 grey images of 3 classes; made by a program
train 288: upper 96, middle 96, lower 96
search 150: upper 50, middle 50, lower 50
test 180: upper 60, middle 60, lower 60
pixels in [0, 1]: mean 0.35, standard deviation 0.25
augmentation: crops of images padded by 1 pixels, half of them mirrored left to
  right; augment in [data] chooses, and mirroring is wrong for digits, signs and
  text

resnet8 on bars
requirements: top1 >= 87%, macs <= 4M
180 test images are too few

            smallest   required  prototype
MACs           120 k  <= 4.00 M     12.5 M
parameters    1.20 k          -     78.0 k

6 groups of 96 channels in all: stage0.0.conv1 16, stage1.0.conv1 16,
  stage2.0.conv1 16, stage3.0.conv1 16, stage4.0.conv1 16, stage5.0.conv1 16
widths change in steps of 8 channels: the run file says so
2 blocks that can go whole: stage1.0, stage2.0
substitutes: separable for 7 places, grouped_4 for 1 place
frozen: 0.4 % of the prototype's MACs, in fixed parts
learning rate: found before the warm-up, from 0.1 downward (peak_lr gives one)
a training step keeps about 1.5 GiB of activations"""
    )


def test_a_plan_says_that_in_fp16_the_search_does_not_know_what_overflows() -> None:
    text = " ".join(reach(replace(REACH, in_fp16=("tx2",)), 80).split())
    assert "tx2 in FP16: until the end all layers of a network are taken in FP16" in text
    assert "in FP16" not in reach(REACH, 80)


EXPECTED = Forecast(
    search_score=Proportion("top1", 1326, 1500),
    seen_search=True,
    parts=(Part("warm-up", 2, 10.2), Part("cycles", 12, 4.25), Part("finalists", 3, 35)),
    views=7340,
    kept_views=7340,
)


def test_the_times_of_a_forecast_add_up() -> None:
    # By hand: 2 * 10.2 + 12 * 4.25 + 3 * 35 = 20.4 + 51 + 105
    assert forecast(EXPECTED, 80) == (
        """\
the prototype: top-1 88.40 % of 1,500 search images, seen by it in training

time forecast from a short measurement on this machine
warm-up      2 x 10 s        20 s
cycles     12 x 4.2 s        51 s
finalists    3 x 35 s  1 min 45 s
in all                 2 min 56 s"""
    )


def test_a_forecast_says_which_answers_of_the_prototype_do_not_fit_in_memory() -> None:
    text = " ".join(forecast(replace(EXPECTED, kept_views=282), 80).split())
    assert "answers to 282 of a finalist's 7,340 training views fit in memory" in text
    assert "answers to" not in forecast(EXPECTED, 80)


def watched(*, terminal: bool) -> str:
    """What a short run writes."""
    file = io.StringIO()
    with Live(console(file=file, terminal=terminal)) as live:
        live.phase("prepare")
        live.phase("prepare")
        live.phase("cycles")
        live.cycle(entry(cycle=1), 2)
        live.progress("cycle-2", 1.0, "loss 0.4")
        live.cycle(entry(cycle=2), 2)
        live.phase("finalists")
        live.progress("network-1", 0.5, "loss 0.5")
        live.progress("network-1", 1.0, "loss 0.3")
        live.note("network-1: 88.00 %, kept")
    return file.getvalue()


def test_a_pipe_sees_plain_lines_and_no_bars() -> None:
    assert watched(terminal=False).splitlines() == [
        "reading the data and the prototype",
        "learning the generator; scores in %, with 95 % intervals",
        cycle_header(80),
        cycle_row(entry(cycle=1), 2, 80),
        cycle_row(entry(cycle=2), 2, 80),
        "distilling the finalists",
        "network-1: loss 0.3",
        "network-1: 88.00 %, kept",
    ]


def test_a_terminal_keeps_the_same_lines_and_clears_its_bars() -> None:
    written = watched(terminal=True)
    assert "loss 0.5" in written
    assert "\x1b[?25l" in written
    # The cursor is shown again, and the bars' last line is erased.
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert written.endswith("\x1b[2K")


def test_a_bar_says_what_is_left_once_a_hundredth_is_done() -> None:
    with Progress(disable=True) as bars:
        bars.add_task("x", total=1.0)
        (task,) = bars.tasks
    task.start_time, task.stop_time = 0.0, 30.0
    task.completed = 0.25  # a quarter in 30 s: three times as long to go
    assert Left().render(task).plain == "1 min 30 s left"
    task.completed = 0.005
    assert Left().render(task).plain == ""


def test_verdicts_are_coloured_in_a_terminal_alone() -> None:
    def printed(*, terminal: bool) -> str:
        file = io.StringIO()
        console(file=file, terminal=terminal).print(line)
        return file.getvalue()

    line = "[top1] satisfied 12 violated unknown :smile: " + "x" * 90
    assert printed(terminal=False) == line + "\n"
    assert printed(terminal=True) == (
        "[top1] \x1b[32msatisfied\x1b[0m 12 \x1b[31mviolated\x1b[0m "
        "\x1b[33munknown\x1b[0m :smile: " + "x" * 90 + "\n"
    )


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), (" 4 : 6 ", [4, 5]), ("7", [7]), ("3, 1,2", [3, 1, 2])]
)
def test_seeds_are_a_span_or_a_list(text: str, seeds: list[int]) -> None:
    assert list(read_seeds(text)) == seeds


@pytest.mark.parametrize("text", ["", ":", "3:", "-1:4", "1.5", "a", "0:3,7", "٣"])
def test_other_texts_are_no_seeds(text: str) -> None:
    with pytest.raises(ConfigError, match="seeds must be FIRST:BEYOND such as 0:50"):
        read_seeds(text)
