"""What the values of a vertex say of the labels of images."""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.enable_grad()
def label_information(features: Tensor, labels: Tensor, ridge: float = 1e-2) -> float:
    """Return a lower bound on the mutual information of features and label, in nats.

        I(features; Y) >= H(Y) - cross-entropy of a linear softmax reader

    The reader is fitted on the even images and read on the odd ones, so the bound is not
    the fit's own praise (Barber and Agakov, NIPS 2003). Never below 0.

    Args:
        features: (n, width).
        labels: (n,).
        ridge: weight of the L2 penalty on the reader.
    """
    width, classes = features.shape[1], int(labels.max()) + 1
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    reader = torch.zeros(width + 1, classes, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([reader], max_iter=30)

    def cross_entropy(part: slice) -> Tensor:
        return F.cross_entropy(features[part] @ reader[:-1] + reader[-1], labels[part])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(slice(0, None, 2)) + ridge * reader.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    held_out = labels[1::2]
    shares = torch.bincount(held_out, minlength=classes).double() / len(held_out)
    entropy = float(torch.special.entr(shares).sum())
    return max(0.0, entropy - float(cross_entropy(slice(1, None, 2)).detach()))
