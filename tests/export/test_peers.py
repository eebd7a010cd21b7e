"""Our files have no more nodes than those of torch's exporters with onnxslim, and are as fast.

The record is made by `python -m experiments.export.peers`, which needs onnxslim; what is held
here is the record, and that our files still are those it was made from.
"""

import json

import onnx
import pytest

from experiments.export import peers
from experiments.families.networks import NAMES, network
from gensynth.errors import ExportError
from gensynth.export.onnx import to_onnx
from tests.networks.single import one_word

DOCUMENT = json.loads(peers.RECORD.read_text())
ROWS = {name: row for name, row in DOCUMENT["rows"].items() if "refused" not in row}


def test_the_record_has_every_network_and_the_table_is_made_from_it() -> None:
    assert tuple(DOCUMENT["rows"]) == NAMES
    assert set(DOCUMENT["rows"]) - set(ROWS) == {"ssd", "with_attention"}
    assert peers.TABLE.read_text() == peers.markdown(DOCUMENT)


@pytest.mark.parametrize("name", ROWS)
def test_no_network_has_more_nodes_than_a_peers(name: str) -> None:
    nodes, at_13 = ROWS[name]["nodes"], ROWS[name]["nodes_13"]
    assert nodes["ours"] <= min(nodes["script"], nodes["dynamo"])
    assert at_13["ours"] <= at_13["script"]


@pytest.mark.parametrize("name", NAMES)
def test_our_files_have_as_many_nodes_as_were_recorded(name: str) -> None:
    module, images = network(name)
    if name not in ROWS:
        with pytest.raises(ExportError, match="opaque"):
            peers.ours(module, images, 17)
        return
    for opset, key in ((17, "nodes"), (13, "nodes_13")):
        assert peers.nodes(peers.ours(module, images, opset)) == ROWS[name][key]["ours"]


def test_no_file_is_slower_than_a_peers() -> None:
    if any(len(row["medians_ms"]["ours"]) < peers.LOADS for row in ROWS.values()):
        pytest.skip("recorded with few loads, whose intervals are too wide to say")
    for name, row in ROWS.items():
        for way in peers.PEERS:
            assert (peers.ratio(row, way).high or 0) <= peers.BOUND, (name, way)


def test_a_ratio_is_that_of_the_medians() -> None:
    taken = {"ours": [1.0, 2.0, 3.0, 1.0, 2.0], "script": [2.0, 4.0, 6.0, 2.0, 4.0]}
    found = peers.ratio({"medians_ms": taken}, "script")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_constants_are_no_nodes() -> None:
    model = onnx.load_from_string(
        to_onnx(one_word("add_constant", {"value": 1.0}, {}, (3,), (3,)), {})
    )
    tensor = model.graph.initializer.pop()
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
    assert peers.nodes(model.SerializeToString()) == 1
