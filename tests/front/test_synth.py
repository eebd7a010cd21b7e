"""What `import gensynth` offers: objects, names and lists in, results that show themselves out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

import gensynth
from gensynth.errors import ConfigError
from gensynth.front.results import ShownResult
from gensynth.render.result import result as table
from gensynth.runs.result import read_result
from tests.runs import tiny

QUICK = {
    "search.warmup_images": 128, "search.images": 128, "search.probe_images": 60,
    "search.candidates": 24, "search.round_to": 1, "search.peak_lr": 0.1,
    "finalists.aim": "point", "finalists.batch": 32, "finalists.peak_lr": 0.1,
    "latency.repeats": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ShownResult:
    folder = tmp_path_factory.mktemp("front")
    model = tiny.net(3, 1)
    model.load_state_dict(load_file(tiny.trained(folder)))
    return gensynth.synth(
        model, tiny.bars(), requirements=["macs <= 50%", "top1 >= prototype - 60"],
        cycles=1, finalists=1, epochs=1, out=str(folder / "a run"), settings=QUICK,
    )  # fmt: skip


def test_a_module_and_a_data_set_are_a_run(found: ShownResult) -> None:
    assert found.path.name == "a run"
    assert all(one.macs <= 124_740 / 2 for one in found.finalists)  # of tiny.Net, by hand
    assert found.requirements[0] == "macs <= 50% (62,370)"
    assert str(found) == table(read_result(found.path))


def test_a_result_is_a_table_in_a_notebook(found: ShownResult) -> None:
    page = found._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>FermiNet-A</td>" in page
    assert "<th>macs &lt;= 50% (62,370)</th>" in page


def test_a_result_is_a_data_frame_where_pandas_is(found: ShownResult) -> None:
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert list(frame["name"]) == ["Net", "FermiNet-A"]
    assert list(frame["macs"]) == [found.prototype.macs, found.finalists[0].macs]


def test_a_family_shows_itself_too(found: ShownResult) -> None:
    drawn = gensynth.generate(str(found.path), [3, 4], requirements="macs <= 50%")
    assert [row.split()[0] for row in str(drawn).splitlines()[1:3]] == ["3", "4"]
    assert drawn._repr_html_().count("<tr>") == 3


def test_what_is_given_wrongly_is_refused_in_our_words(tmp_path: Path) -> None:
    config = gensynth.RunConfig(requirements=["macs <= 4M"], out="x")  # type: ignore[arg-type]
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: gensynth.synth(3), "a run begins from a torch module, a name, a run file"),  # type: ignore[arg-type]
        (lambda: gensynth.synth(config, cycles=3), "a configuration says all of a run, got search"),
        (lambda: gensynth.synth(requirements="mac <= 4M"), "did you mean 'macs'"),
        (lambda: gensynth.synth(cycles="3"), "cycles in .search. must be a whole number"),  # type: ignore[arg-type]
        (lambda: gensynth.synth(settings={"serch.cycles": 3}), "did you mean '.search.'"),
        (lambda: gensynth.synth(tmp_path / "absent.toml"), "cannot be read: No such file"),
        (lambda: gensynth.synth(tiny.net(3, 1), prototype=tiny.net(3, 1)), "is given twice"),
        (lambda: gensynth.synth(config, task="detection"), "says all of a run, got task.kind"),
        (lambda: gensynth.synth(task="detektion"), "must be one of classification, segmentation"),
        (lambda: gensynth.synth(task="detection"), "judges by ap50 needs requirements of its own"),
    ]
    for call, message in refused:
        with pytest.raises(ConfigError, match=message):
            call()
