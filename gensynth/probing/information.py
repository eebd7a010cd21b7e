"""How many of its channels a vertex really uses."""

import torch
from torch import Tensor


def effective_rank(values: Tensor) -> float:
    """Return how many directions the channels of a value really use.

        exp H(p),  p = eigenvalues of the channel covariance, made to sum to 1

    (Roy and Vetterli, "The effective rank", EUSIPCO 2007). Between 1 and the number of
    channels; 1 for a value that never changes.

    Args:
        values: (batch, channels) or (batch, channels, height, width).
    """
    rows = values.transpose(0, 1).flatten(1).T.double()  # (batch * positions, channels)
    spectrum = torch.linalg.eigvalsh(torch.cov(rows.T).reshape(rows.shape[1], -1)).clamp_min(0)
    share = spectrum / spectrum.sum().clamp_min(1e-30)
    return float(torch.exp(torch.special.entr(share).sum()))
