"""Convolutional networks, as their papers have them, with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 around a sum (He et al., "Deep Residual Learning", CVPR 2016, figure 5).

    The 3x3 has the stride, as is usual since.

    Args:
        channels: of x.
        width: of the 3x3; y has four times as many.
        stride: of the 3x3.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            projection = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return y [N, 4 * width, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.shortcut(x)
        return self.relu(y)


def resnet50() -> nn.Module:
    """Return ResNet-50 for images [N, 3, 224, 224] (table 1 of the paper)."""
    layers: list[nn.Module] = [
        *_normed(3, 64, 7, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(channels, width, 1 if number else stride))
            channels = 4 * width
    return _seeded([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)])


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (Sandler et al., "MobileNetV2", CVPR 2018, table 1).

    Args:
        channels: of x.
        out: channels of y.
        stride: of the depthwise convolution.
        expand: how many times wider it is than x.
    """

    def __init__(self, channels: int, out: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = channels * expand
        layers: list[nn.Module] = []
        if expand > 1:
            layers += [*_normed(channels, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [*_normed(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*layers, *_normed(hidden, out, 1))
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return y [N, out, H / stride, W / stride]."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def mobilenet_v2() -> nn.Module:
    """Return MobileNetV2 for images [N, 3, 224, 224] (table 2 of the paper)."""
    layers: list[nn.Module] = [*_normed(3, 32, 3, stride=2), nn.ReLU6(inplace=True)]
    channels = 32
    table = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expand, out, count, stride in table:
        for number in range(count):
            layers.append(InvertedResidual(channels, out, 1 if number else stride, expand))
            channels = out
    layers += [*_normed(320, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1)]
    return _seeded([*layers, nn.Flatten(), nn.Linear(1280, 1000)])


class UNet(nn.Module):
    """Ronneberger et al., "U-Net" (MICCAI 2015), with padding, normalized, and half as wide."""

    def __init__(self, channels: int = 3, classes: int = 21) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 512)
        ins = (channels, *widths[:-1])
        self.down = nn.ModuleList(map(_twice, ins, widths))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(_twice(2 * b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return classes of pixels: [N, classes, H, W] for x [N, channels, H, W]."""
        skipped = []
        for number, block in enumerate(self.down):
            x = block(self.pool(x) if number else x)
            skipped.append(x)
        for rise, block, skip in zip(self.rise, self.up, skipped[-2::-1], strict=True):
            x = block(torch.cat((rise(x), skip), 1))
        y: Tensor = self.head(x)
        return y


def unet() -> nn.Module:
    """Return a U-Net for images [N, 3, H, W], sizes multiples of 16."""
    return _seeded([UNet()])


NETS = {"resnet50": resnet50, "mobilenet_v2": mobilenet_v2, "unet": unet}


def _normed(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out)


def _twice(channels: int, out: int) -> nn.Module:
    layers: list[nn.Module] = []
    for wide in (channels, out):
        layers += [*_normed(wide, out, 3), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


@torch.no_grad()
def _seeded(layers: list[nn.Module]) -> nn.Module:
    """Return the layers in a row, with weights that keep activations at about one size."""
    model = nn.Sequential(*layers).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                assert tensor is not None
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return model
