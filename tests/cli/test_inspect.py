"""`gensynth inspect`: of a network that gives more than a task reads, up to what is named."""

import json
from pathlib import Path

from tests.runs.toybox import Command

FINE = ("--output", "classes.0", "--output", "sides.0")
DETECTOR = ("small_detector", "--shape", "3,64,64", "--classes", "2")


def test_inspect_reads_up_to_the_parts_that_are_named(gensynth: Command, here: Path) -> None:
    found = {}
    for name, outputs in (("whole", ()), ("fine", FINE), ("turned", (*FINE[2:], *FINE[:2]))):
        code, out, err = gensynth("inspect", *DETECTOR, *outputs, "--json")
        assert code == 0, err
        found[name] = json.loads(out)
    assert found["fine"] != found["whole"]
    shown = {name: json.dumps(document) for name, document in found.items()}
    assert "classes.1" in shown["whole"]
    assert "classes.1" not in shown["fine"]
    assert "classes.0" in shown["fine"]


def test_a_part_that_is_none_is_refused_with_the_nearest(gensynth: Command, here: Path) -> None:
    code, out, err = gensynth("inspect", *DETECTOR, "--output", "clases.0")
    assert (code, out) == (2, "")
    assert err.endswith(
        "error: outputs in [prototype] must be parts that the network calls, or keys of what it "
        "returns, got 'clases.0'; did you mean 'classes.0'?\n"
    )
