"""RefineNet for segmentation (Lin et al., arXiv:1611.06612, figures 2 and 3).

A residual network gives features at 1/4, 1/8, 1/16 and 1/32 of the image's resolution. Four
refinement blocks then go from the coarsest to the finest; each adds what the next finer
stage saw to what the coarser block found:

    adapt     a 3x3 convolution to the blocks' width, of the backbone's features
    RCU x 2   residual convolution units, on every path into the block
    fusion    a 3x3 convolution a path, enlarged to the finest path and added up
    pooling   chained residual pooling: 5x5 max pooling and a 3x3 convolution, twice in a row,
              each result added to what came in
    RCU       one more unit; two more after the last block, before the classes

The class scores are enlarged to the image. All enlarging is bilinear.

Three things differ from the paper, because here the network is trained from nothing, on
images of 360x480: every 3x3 convolution but the last has a batch norm (the paper's units
have none, and keep those of an ImageNet backbone as they are); the stem is one 3x3
convolution of stride 2, and the first stage halves in place of a max pooling; and the widths
are smaller. With 11 classes and an image of 360x480 the default has 1,909,835 parameters and
3,239,754,240 MACs.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gensynth.prototypes.resnet import BasicBlock

POOLINGS = 2
"""Links of chained residual pooling."""


class Unit(nn.Module):
    """A residual convolution unit (RCU): two 3x3 convolutions, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, h, w) -> the same shape."""
        branch = self.bn1(self.conv1(F.relu(x)))
        branch = self.bn2(self.conv2(F.relu(branch)))
        return x + branch


class ChainedPooling(nn.Module):
    """Context from ever larger windows, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.links = nn.ModuleList(convolution(width, width) for _ in range(POOLINGS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width, h, w) -> the same shape."""
        x = F.relu(x)
        path = x
        for link in self.links:
            path = link(F.max_pool2d(path, 5, 1, 2))
            x = x + path
        return x


class Coarsest(nn.Module):
    """The refinement block of the coarsest features, which has one path and nothing to fuse."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.adapt = convolution(width_in, width)
        self.path = nn.Sequential(Unit(width), Unit(width))
        self.pooling = ChainedPooling(width)
        self.output = Unit(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) -> (batch, width, h, w)."""
        return self.output(self.pooling(self.path(self.adapt(features))))


class Refinement(nn.Module):
    """A refinement block of two paths: the backbone's features and the coarser block's."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.adapt = convolution(width_in, width)
        self.fine = nn.Sequential(Unit(width), Unit(width))
        self.coarse = nn.Sequential(Unit(width), Unit(width))
        self.fuse_fine = convolution(width, width)
        self.fuse_coarse = convolution(width, width)
        self.pooling = ChainedPooling(width)
        self.output = Unit(width)

    def forward(self, features: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        """(batch, width_in, h, w) and (batch, width, h / 2, w / 2) -> (batch, width, h, w)."""
        fine = self.fuse_fine(self.fine(self.adapt(features)))
        coarse = self.fuse_coarse(self.coarse(coarser))
        x = fine + enlarged(coarse, fine)
        return self.output(self.pooling(x))


class RefineNet(nn.Module):
    """RefineNet on a residual backbone of any depth and widths."""

    def __init__(
        self,
        *,
        blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
        widths: tuple[int, int, int, int] = (32, 64, 128, 128),
        width: int = 32,
        classes: int = 11,
        channels: int = 3,
    ) -> None:
        """Make it untrained.

        Args:
            blocks: residual blocks of each stage of the backbone, from fine to coarse.
            widths: of these stages.
            width: of all refinement blocks.
            classes: number of classes of a pixel.
            channels: of an image.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages = []
        width_in = widths[0]
        for stage_width, count in zip(widths, blocks, strict=True):
            first = BasicBlock(width_in, stage_width, 2)
            rest = [BasicBlock(stage_width, stage_width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *rest))
            width_in = stage_width
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.refine4 = Coarsest(widths[3], width)
        self.refine3 = Refinement(widths[2], width)
        self.refine2 = Refinement(widths[1], width)
        self.refine1 = Refinement(widths[0], width)
        self.last = nn.Sequential(Unit(width), Unit(width))
        self.classify = nn.Conv2d(width, classes, 3, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Unit):
                nn.init.zeros_(module.bn2.weight)  # begins as the identity
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) -> (batch, classes, height, width), logits."""
        stem = F.relu(self.bn1(self.conv1(x)))  # (batch, ., height / 2, width / 2)
        quarter = self.stage1(stem)
        eighth = self.stage2(quarter)
        sixteenth = self.stage3(eighth)
        refined = self.refine4(self.stage4(sixteenth))  # (batch, ., height / 32, width / 32)
        refined = self.refine3(sixteenth, refined)
        refined = self.refine2(eighth, refined)
        refined = self.refine1(quarter, refined)  # (batch, ., height / 4, width / 4)
        return enlarged(self.classify(F.relu(self.last(refined))), x)


def convolution(width_in: int, width: int) -> nn.Sequential:
    """Make a 3x3 convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def enlarged(x: torch.Tensor, finer: torch.Tensor) -> torch.Tensor:
    """Return features at the resolution of finer ones: (batch, channels, h, w) of the finer."""
    return F.interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=False)


def refinenet(classes: int = 11, channels: int = 3) -> RefineNet:
    """RefineNet on a ResNet-18 of widths 32, 64, 128 and 128, refined at width 32."""
    return RefineNet(classes=classes, channels=channels)
