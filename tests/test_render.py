"""What a person reads says what was measured, fits the terminal, and needs no colours."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gensynth.certify import Certificate
from gensynth.errors import ConfigError
from gensynth.family import Drawn, Family
from gensynth.forecast import Forecast
from gensynth.judgement import Verdict
from gensynth.render import figures
from gensynth.render.cycles import cycle_header, cycle_row
from gensynth.render.family import family
from gensynth.render.forecast import forecast
from gensynth.render.live import Live, console
from gensynth.render.result import result
from gensynth.render.seeds import read_seeds
from gensynth.requirements import parse
from gensynth.results import Finalist, LatencyFigures, Ratios, Result

YES, NO, OPEN = Verdict.SATISFIED, Verdict.VIOLATED, Verdict.UNKNOWN


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


def network(name: str, correct: int, params: int, macs: int, **changes: Any) -> Finalist:
    limit = parse("top1 >= 87%")
    values: dict[str, Any] = {
        "name": name,
        "folder": Path("runs/q/finalists") / name,
        "seed": 5,
        "params": params,
        "macs": macs,
        "certificate": Certificate(correct, 3200, limit, sharing=2),
        "search_correct": 1300,
        "search_n": 1500,
        "utility": 80.0,
        "information_density": 1000.0,
        "netscore": 80.0,
        "latency": LatencyFigures(0.1, 0.098, 0.1049, "local", "onnxruntime 1.22.0", 1, 1, 200),
        "ratios": Ratios(4.0, 3.125, 3.95, 11.05, 2.0, 1.97, 2.04),
        "verdicts": {"top1 >= 87%": OPEN, "macs <= 4M": YES},
        "point_verdicts": {"top1 >= 87%": YES, "macs <= 4M": YES},
    }
    return Finalist(**(values | changes))


PROTOTYPE = network(
    "resnet8", 2832, 78_042, 12_500_000, seed=None, ratios=None,
    latency=LatencyFigures(0.2, 0.199, 0.203, "local", "onnxruntime 1.22.0", 1, 1, 200),
    verdicts={"top1 >= 87%": YES, "macs <= 4M": NO},
    point_verdicts={"top1 >= 87%": YES, "macs <= 4M": NO},
    information_density=1134.0, netscore=77.9, utility=77.9,
)  # fmt: skip


def finished(*networks: Finalist) -> Result:
    return Result(
        path=Path("runs/my q"),
        prototype=PROTOTYPE,
        finalists=networks,
        requirements=("top1 >= 87%", "macs <= 4M"),
        journal=(),
        seconds={"initialise": 20.0, "cycles": 61.0, "finalists": 59.0},
    )


def second() -> Finalist:
    return network(
        "FermiNet-B", 2784, 15_000, 2_000_000,
        latency=None, ratios=Ratios(5.2, 6.25, 5.1, 14.0, None, None, None),
        netscore=91.9, utility=91.9, information_density=5800.0,
        point_verdicts={"top1 >= 87%": NO, "macs <= 4M": YES},
    )  # fmt: skip


def test_the_result_stands_in_one_table_of_eighty_columns() -> None:
    # 2832, 2800 and 2784 of 3200 are 88.5, 87.5 and 87 %. Their intervals are
    # binomtest(k, 3200).proportion_ci(0.95, "wilson") of scipy 1.16, and so are the certified
    # bounds, since two networks share 95 %: one-sided 97.5 % each.
    text = result(finished(network("FermiNet-A", 2800, 19_510, 4_000_000), second()), 80)
    assert text == (
        """\
                                resnet8   FermiNet-A   FermiNet-B
top-1 on 3,200 test images      88.50 %      87.50 %      87.00 %
  95 % interval             87.35-89.56  86.31-88.60  85.79-88.12
  certified at least            87.35 %      86.31 %      85.79 %
parameters                       78,042       19,510       15,000
MACs                             12.5 M       4.00 M       2.00 M
information density, %/M          1,134        1,000        5,800
NetScore                          77.90        80.00        91.90
latency p50, ms                   0.200        0.100            -
  95 % interval             0.199-0.203  0.098-0.105            -
times fewer parameters                          4.00         5.20
times fewer MACs                                3.12         6.25
times the density                               3.95         5.10
NetScore gained                               +11.05       +14.00
times faster                                    2.00            -
  95 % interval                            1.97-2.04            -
top1 >= 87%                   satisfied      unknown      unknown
  by point value              satisfied    satisfied     violated
macs <= 4M                     violated    satisfied    satisfied

certified: one-sided Wilson bounds, true of 2 networks together at 95 %
latency: device local, onnxruntime 1.22.0, 1 thread, batch 1, n = 200 each, in
  turns
wall time: 2 min 20 s (initialise 20 s, cycles 1 min 01 s, finalists 59 s)

FermiNet-B misses a requirement by point value; more cycles, a longer
  distillation (--epochs) or looser requirements may help

run folder        'runs/my q'
networks          'runs/my q'/finalists/*/network.onnx
more of them      gensynth generate 'runs/my q' --seeds 0:50
this table again  gensynth show 'runs/my q'"""
    )


def test_one_network_shares_its_certificate_with_none() -> None:
    alone = network(
        "FermiNet-A", 2800, 19_510, 4_000_000,
        certificate=Certificate(2800, 3200, parse("top1 >= 87%"), sharing=1),
    )  # fmt: skip
    text = result(finished(alone), 80)
    assert "\ncertified: one-sided Wilson bound at 95 %\n" in text


def test_networks_that_do_not_fit_beside_each_other_stand_below_beside_the_prototype() -> None:
    names = [f"FermiNet-{letter}" for letter in "ABCDE"]
    text = result(finished(*(network(n, 2800, 19_510, 4_000_000) for n in names)), 80)
    heads = [line.split() for line in text.splitlines() if "resnet8" in line]
    assert heads == [["resnet8", *names[:3]], ["resnet8", *names[3:]]]
    assert max(map(len, text.splitlines())) <= 80
    wide = result(finished(*(network(n, 2800, 19_510, 4_000_000) for n in names)), 120)
    assert wide.splitlines()[0].split() == ["resnet8", *names]


def test_a_utility_of_ones_own_has_its_row() -> None:
    text = result(finished(network("FermiNet-A", 2800, 19_510, 4_000_000, utility=12.345)), 80)
    assert [line.split() for line in text.splitlines() if line.startswith("utility")] == [
        ["utility", "77.90", "12.35"]
    ]
    plain = result(finished(network("FermiNet-A", 2800, 19_510, 4_000_000)), 80)
    assert "\nutility" not in plain


def test_top1_as_utility_is_not_said_twice() -> None:
    accurate = network("FermiNet-A", 2800, 19_510, 4_000_000, utility=87.50000000000001)
    text = result(replace(finished(accurate), prototype=replace(PROTOTYPE, utility=88.5)), 80)
    assert "\nutility" not in text


def test_without_a_requirement_on_accuracy_nothing_is_certified_at_least() -> None:
    free = network("FermiNet-A", 2800, 19_510, 4_000_000, certificate=Certificate(2800, 3200))
    bare = replace(PROTOTYPE, certificate=Certificate(2832, 3200))
    text = result(replace(finished(free), prototype=bare, requirements=()), 80)
    assert "certified" not in text


def test_parts_of_a_phase_do_not_count_twice_in_the_wall_time() -> None:
    seconds = {"train prototype": 40.0, "finalists": 60.0, "finalists train": 55.0}
    text = result(replace(finished(), seconds=seconds), 80)
    assert "wall time: 1 min 40 s (train prototype 40 s, finalists 1 min 00 s)\n" in text


def drawn(seed: int, **changes: Any) -> Drawn:
    values: dict[str, Any] = {
        "seed": seed,
        "folder": Path("runs/q/generated") / str(seed),
        "graph_sha256": f"{seed}",
        "params": 21_404,
        "macs": 3_979_648,
        "predicted_top1_pct": (85.02, 87.11, 88.96),
        "verdicts": {"top1 >= 87%": OPEN, "macs <= 4M": YES},
        "certificate": None,
        "search_correct": None,
        "search_n": None,
        "point_verdicts": None,
    }
    return Drawn(**(values | changes))


def test_a_family_is_a_row_a_seed() -> None:
    text = family(Family(Path("runs/q/generated"), (drawn(8), drawn(9), drawn(10)), 0.1234))
    assert text == (
        """\
seed          predicted    MACs  params  require
   8  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown
   9  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown
  10  87.1 [85.0, 89.0]  3.98 M  21.4 k  unknown

3 different among 3, median pairwise distance of relative widths 0.123
train and certify them with: the same command and --distil
networks are in runs/q/generated/SEED"""
    )


def test_a_distilled_family_says_which_share_meets_the_requirements() -> None:
    # 2800 of 3200: as above. 11 of 12, one-sided 95 %: scipy's Wilson bound is 0.7018.
    tested = drawn(
        0,
        certificate=Certificate(2800, 3200),
        point_verdicts={"top1 >= 87%": YES, "macs <= 4M": YES},
    )
    text = family(
        Family(
            Path("runs/q/generated"), (tested,), None,
            satisfied=11, judged=12, share_lower_bound=0.7018,
        )
    )  # fmt: skip
    assert text == (
        """\
seed          predicted             tested    MACs  params    require
   0  87.1 [85.0, 89.0]  87.5 [86.3, 88.6]  3.98 M  21.4 k  satisfied

1 different among 1
11 of 12 meet the requirements by point value: at least 70 % of all seeds do, at 95 %
networks are in runs/q/generated/SEED"""
    )


def test_a_forecast_fits_eighty_columns() -> None:
    text = forecast(
        Forecast(
            prototype="resnet8", data="fashion-mnist-subset", macs=(120_000, 12_500_000),
            params=(1_200, 78_042), limits={"macs": 4_000_000},
            requirements=("top1 >= 87%", "macs <= 4M"), search_top1_pct=88.4, search_n=1500,
            seen_search=True, frozen_macs_share=0.0042,
            groups=tuple((f"stage{n}.0.conv1", 16) for n in range(6)),
            blocks=("stage1.0", "stage2.0"),
            operators=(("separable", 7), ("grouped_4", 1)), cycles=12, finalists=3,
            initialise_s=20.4, cycle_s=4.21, finalist_s=35, total_s=175.9,
        ),
        80,
    )  # fmt: skip
    assert text == (
        """\
resnet8 on fashion-mnist-subset: top-1 88.40 % of 1,500 search images, seen by
  it in training

requirements: top1 >= 87%, macs <= 4M

            smallest   required  prototype
MACs           120 k  <= 4.00 M     12.5 M
parameters    1.20 k          -     78.0 k

6 groups of 96 channels in all: stage0.0.conv1 16, stage1.0.conv1 16,
  stage2.0.conv1 16, stage3.0.conv1 16, stage4.0.conv1 16, stage5.0.conv1 16
2 blocks that can go whole: stage1.0, stage2.0
operators: separable for 7 places, grouped_4 for 1 place
frozen: 0.4 % of the prototype's MACs, in fixed parts

time forecast from a short measurement on this machine
initialise               20 s
cycles      12 of       4.2 s
finalists    3 of        35 s
in all             2 min 56 s"""
    )


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
        "learning the generator; top-1 in %, with 95 % intervals",
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
