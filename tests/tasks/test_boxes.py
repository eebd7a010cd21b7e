"""Boxes by hand: overlap, clusters, suppression, and what maps decode to."""

import ast
from pathlib import Path

import numpy as np
import pytest

from gensynth.tasks import boxes

HOW = {
    "kind": "grid", "height": 64, "width": 96, "least_score": 0.5, "overlap": 0.5, "most": 10,
}  # fmt: skip


def test_overlap_is_what_is_common_of_what_either_covers() -> None:
    first = np.array([[0.0, 0, 4, 4]])
    second = np.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [1, 1, 1, 3]])
    assert boxes.overlap(first, second)[0].tolist() == pytest.approx([1, 8 / 24, 0, 0])


def test_a_cluster_is_the_mean_of_its_cells_and_as_sure_as_the_surest() -> None:
    cells = np.array(
        [[0, 0, 10, 20, 0.9, 0], [2, 0, 12, 20, 0.3, 0], [0, 0, 10, 20, 0.8, 1],
         [50, 50, 60, 60, 0.7, 0]]
    )  # fmt: skip
    found = boxes.clustered(cells, 0.5)
    assert found[:, 4:].tolist() == pytest.approx(np.array([[0.9, 0], [0.8, 1], [0.7, 0]]))
    assert found[0, :4].tolist() == pytest.approx([0.5, 0, 10.5, 20])  # weights 3 to 1


def test_suppression_leaves_the_surest_of_what_overlaps_and_every_class_of_it() -> None:
    rows = np.array(
        [[0, 0, 10, 10, 0.6, 0], [1, 0, 11, 10, 0.9, 0], [0, 0, 10, 10, 0.5, 1],
         [8, 0, 18, 10, 0.4, 0]]
    )  # fmt: skip
    found = boxes.suppressed(rows, 0.5)
    assert found[:, 4].tolist() == pytest.approx([0.9, 0.5, 0.4])


def test_a_cell_of_a_grid_says_how_far_the_corners_are_from_its_centre() -> None:
    logits = np.full((2, 4, 6), -9.0)
    corners = np.zeros((4, 4, 6))
    logits[1, 2, 3] = 2.0  # centre (56, 40) of a stride of 16
    corners[:, 2, 3] = [-0.5, -1.0, 0.5, 0.75]
    (row,) = boxes.detect([logits, corners], HOW)
    share = 1 / (1 + np.exp(-2))
    assert row.tolist() == pytest.approx([48, 24, 64, 52, share, 1])


def test_distances_and_the_mean_of_a_distribution_over_them_give_one_box() -> None:
    logits = np.full((1, 8, 12), -9.0)
    logits[0, 1, 2] = 3.0  # centre (20, 12) of a stride of 8
    distances = np.zeros((4, 8, 12))
    distances[:, 1, 2] = [1.5, 1, 2, 1]
    shares = np.zeros((4, 3, 8, 12))  # bins 0, 1, 2
    chances = np.array([[0, 0.5, 0.5], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    shares[:, :, 1, 2] = np.log(np.maximum(chances, 1e-12))
    how = {**HOW, "kind": "scales"}
    by_distance = boxes.detect([logits, distances], how)
    by_bins = boxes.detect([logits, shares.reshape(12, 8, 12)], how)
    assert by_distance[0, :4].tolist() == pytest.approx([8, 4, 36, 20])
    assert by_bins[0] == pytest.approx(by_distance[0], abs=1e-5)


def test_boxes_end_at_the_images_border_and_the_surest_are_kept() -> None:
    logits = np.linspace(1, 2, 24).reshape(1, 4, 6)
    corners = np.broadcast_to(np.array([-9.0, -0.1, 0.1, 0.1])[:, None, None], (4, 4, 6))
    found = boxes.detect([logits, corners], {**HOW, "most": 3, "overlap": 1.1})
    assert len(found) == 3
    assert found[0, :2].tolist() == pytest.approx([0, 54.4])
    assert (np.diff(found[:, 4]) <= 0).all()


def test_the_file_is_in_the_grammar_of_the_oldest_board_and_needs_numpy_alone() -> None:
    text = Path(boxes.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 6))
    names = [n for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names]
    assert [alias.name for alias in names] == ["numpy"]
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
