"""Xception, whole or cut after a block, under the names of timm's ``legacy_xception``.

Source: Chollet, CVPR 2017 (arXiv 1610.02357); specification localization.md, section 2.1.
"""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS = (
    (64, 128, 2, 2),
    (128, 256, 2, 2),
    (256, 728, 2, 2),
    *[(728, 728, 3, 1)] * 8,
    (728, 1024, 2, 2),
)
"""Channels in and out, separable convolutions, stride of each block."""
STEM, EXIT = (32, 64), (1536, 2048)
WHOLE = 13
"""A depth beyond the last block: the exit flow as well."""
STRIDE, OFFSET, FIELD = 8, 3, 43
"""After block 2, cell ``i`` sees 43 pixels around pixel ``8 i + 3`` of the network's input."""


def channels(count: int, width: float) -> int:
    """Channels of a layer that has `count` at width 1.

    Example:
        >>> channels(728, 1.0), channels(728, 0.25)
        (728, 182)
    """
    return max(8, round(count * width))


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 across channels; no bias."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inside, h, w]`` to ``[N, outside, h, w]``."""
        return self.pointwise(self.conv1(x))


class XceptionBlock(nn.Module):
    """Units of ReLU, separable convolution and batch norm beside a skip connection.

    Args:
        inside: channels in.
        outside: channels out.
        units: how many.
        stride: of the pooling at the end; 1 is none.
        first_relu: whether the block begins with a ReLU.
        widen_last: the last unit widens, not the first.
    """

    def __init__(
        self,
        inside: int,
        outside: int,
        units: int,
        stride: int,
        *,
        first_relu: bool = True,
        widen_last: bool = False,
    ) -> None:
        super().__init__()
        self.plain = inside == outside and stride == 1
        if not self.plain:
            self.skip = nn.Conv2d(inside, outside, 1, stride=stride, bias=False)
            self.skipbn = nn.BatchNorm2d(outside)
        middle = inside if widen_last else outside
        widths = [inside, *[middle] * (units - 1), outside]
        layers: list[nn.Module] = []
        for i in range(units):
            # In place would change the skip connection's input.
            layers += [nn.ReLU(inplace=i > 0), SeparableConv(widths[i], widths[i + 1])]
            layers.append(nn.BatchNorm2d(widths[i + 1]))
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, 1))
        self.rep = nn.Sequential(*layers[0 if first_relu else 1 :])

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inside, h, w]`` to ``[N, outside, h / stride, w / stride]``."""
        return self.rep(x) + (x if self.plain else self.skipbn(self.skip(x)))


class Xception(nn.Module):
    """The body of Xception up to a depth.

    Args:
        depth: last block, 1 to 12; 13 adds the exit flow.
        width: share of the published number of channels in each layer; 1 is Xception.
    """

    def __init__(self, depth: int = WHOLE, width: float = 1.0) -> None:
        super().__init__()
        first, second = (channels(c, width) for c in STEM)
        self.conv1 = nn.Conv2d(3, first, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.relu = nn.ReLU(inplace=True)
        self.depth = min(depth, len(BLOCKS))
        for number, (inside, outside, units, stride) in enumerate(BLOCKS[: self.depth], 1):
            block = XceptionBlock(
                channels(inside, width),
                channels(outside, width),
                units,
                stride,
                first_relu=number > 1,
                widen_last=number == len(BLOCKS),
            )
            self.add_module(f"block{number}", block)
        self.features = channels(BLOCKS[self.depth - 1][1], width)
        self.exits = depth > len(BLOCKS)
        if self.exits:
            last, self.features = (channels(c, width) for c in EXIT)
            self.conv3 = SeparableConv(channels(BLOCKS[-1][1], width), last)
            self.bn3 = nn.BatchNorm2d(last)
            self.conv4 = SeparableConv(last, self.features)
            self.bn4 = nn.BatchNorm2d(self.features)

    def stem(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in -1..1 to ``[N, 64, h, w]``."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))

    def blocks(self, x: Tensor, first: int, last: int) -> Tensor:
        """Blocks `first` to `last`, both included."""
        for number in range(first, last + 1):
            x = self.get_submodule(f"block{number}")(x)
        return x

    def body(self, x: Tensor) -> Tensor:
        """All that is there: ``[N, 3, H, W]`` to ``[N, features, h, w]``."""
        x = self.blocks(self.stem(x), 1, self.depth)
        return self.exit(x) if self.exits else x

    def exit(self, x: Tensor) -> Tensor:
        """The exit flow, which only a whole network has."""
        x = self.relu(self.bn3(self.conv3(x)))
        return self.relu(self.bn4(self.conv4(x)))
