"""What a move saves of a model's costs, all else unchanged.

A model that knows a formula is asked for it. Of any other the difference is taken, on the
vertices that the move touches.
"""

from dataclasses import replace

import numpy as np

from gensynth.space.bilinear_cost import Layout
from gensynth.space.cost_model import ClosedForm, CostModel
from gensynth.space.operator_choices import Sites
from gensynth.space.points import Points

Channels = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Channels read, channels written and 1 for life: (networks, vertices) each."""


def width_savings(
    model: CostModel, channels: Channels, steps: np.ndarray, points: Points, layout: Layout
) -> np.ndarray:
    """Return (networks, groups, names): what `steps` fewer channels of each group save."""
    read, written, alive = channels
    if isinstance(model, ClosedForm):
        return model.width_savings(read, written, alive, steps, points)
    saved = np.zeros((*steps.shape, len(model.names)))
    now = model.vertex_costs(read, written, alive, points)
    for g in range(steps.shape[1]):
        at = np.flatnonzero(layout.reads[g] + layout.writes[g])
        less = steps[:, g, None]
        narrow = (
            read[:, at] - less * layout.reads[g, at], written[:, at] - less * layout.writes[g, at]
        )  # fmt: skip
        then = model.vertex_costs(*narrow, alive[:, at], points, at)
        saved[:, g] = (now[:, at] - then).sum(axis=1)
    return saved


def substitute_savings(
    model: CostModel, channels: Channels, points: Points, sites: Sites, convolutions: np.ndarray
) -> np.ndarray:
    """Return (networks, sites, 1 + substitutes, names): what each saves where it would stand.

    Args:
        model: whose costs.
        channels: of the networks.
        points: the networks; their substitutes are given.
        sites: of the space. A substitute that is not allowed at one saves -inf.
        convolutions: (sites.convs,) which vertices the sites are that are convolutions.
    """
    if isinstance(model, ClosedForm):
        return model.substitute_savings(*channels, points)
    read, written, alive = channels
    assert points.substitutes is not None, "a space with sites gives every point its substitutes"
    saved = np.full(
        (*points.substitutes.shape, *sites.allowed.shape[1:], len(model.names)), -np.inf
    )
    every = np.arange(read.shape[1])  # what another resolution touches
    for site, substitute in zip(*np.nonzero(sites.allowed), strict=True):
        at = convolutions[[site]] if site < sites.convs else every
        here = read[:, at], written[:, at], alive[:, at]
        other = points.substitutes.copy()
        other[:, site] = substitute
        now = model.vertex_costs(*here, points, at)
        then = model.vertex_costs(*here, replace(points, substitutes=other), at)
        saved[:, site, substitute] = (now - then).sum(axis=1)
    return saved
