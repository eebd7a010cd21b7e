"""Networks whose norms are no plain ones: called twice, behind a dropout, with equal weights."""

import torch
from torch import Tensor, nn

from gensynth.network.module import Network, build
from gensynth.trace import trace
from tests.training.quarters import small_resnet


class Noisy(nn.Module):
    """Dropout before a norm, and a norm that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.again = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.drop, self.bn = nn.Dropout(0.4), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.drop(self.conv(x)))
        x = self.bn(self.again(torch.relu(x)))
        return self.fc(x.mean((2, 3)))


class Twice(nn.Module):
    """One kernel in two layers, and one mean in two norms; the second stands first in its place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.pair = nn.ModuleList([nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])
        self.middle, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.pair[1].weight, self.bn2.running_mean = self.middle.weight, self.bn1.running_mean

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.middle(torch.relu(self.pair[0](x)))))
        return self.fc(torch.relu(self.bn2(self.pair[1](x))).mean((2, 3)))


def averaging() -> Network:
    """A rebuilt network whose norm averages every batch alike, and counts them for it."""
    module = small_resnet()
    module.bn1.momentum = None
    graph = trace(module.eval(), torch.zeros(1, 1, 8, 8), name="averaging")
    return build(graph, module.state_dict())
