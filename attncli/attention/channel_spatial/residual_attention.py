"""Residual Attention Network: modules in which a mask branch weighs every element of a trunk branch (a whole network).

    RU = pre-activation bottleneck unit, C -> C/4 -> C/4 -> C
    x1 = RU(x);  T = RU(RU(x1));  M = mask(x1), (N, C, H, W);  y = RU((1 + M) T)
    mask: n times 3x3 max-pool with stride 2, then RU (two at the bottom); n times bilinear upsampling to the size of
    the level above, plus RU_skip of that level's features, then RU (at the top neither); then BN, ReLU, 1x1
    convolution, BN, ReLU, 1x1 convolution, sigmoid

A module learns (3n + 3)(17 C^2 / 16 + 3 C) + 2 C^2 + 4 C numbers (n >= 1). `modules` counts them in the three
stages: (1, 1, 1) is Attention-56, (1, 2, 3) Attention-92, (m, m, m) has depth 36 m + 20. By the shorter side:

    side         stem                           stages (C, n)                        then
    above 64     7x7/2 conv 64, max-pool        (256, 3) (512, 2)/2 (1024, 1)/2      three RUs 2048, the first /2
    24 to 64     3x3 conv 32                    (128, 2) (256, 1)/2 (512, 0)/2       three RUs 1024
    below 24     3x3 conv 8                     (32, 2) (64, 1)/2 (128, 0)/2         three RUs 256

each stage after a unit that sets its width, /2 meaning stride 2; at the end BN, ReLU, mean, linear layer. With n = 0
the mask is two units and its head at full size. `width` is C of the first stage.

Where the sources differ: topology as in the official prototxt files. The usual PyTorch port also adds the features of
the level above to every upsampled map, and the trunk at the top; `sums=True` does. Max-pools have padding 1 as in the
port (Caffe: none, rounding up), one pixel aside at even sizes. The small forms are the port's: the paper does not
specify its CIFAR networks. `mask="naive"` is the paper's ablation without residual, M T; `pool` halves small images
in the stem too, as a re-implementation first did on CIFAR-10.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import spatial_mean

card = Card(
    title="Residual Attention Network for Image Classification",
    venue="CVPR",
    year=2017,
    arxiv="1704.06904",
    site="model",
    code="fwang91/residual-attention-network@bc207a8 imagenet_model/Attention-56-deploy.prototxt",
    aliases=("residual-attention-network", "attention-56", "attention-92"),
    notes=("The paper's CIFAR networks are smaller than these (about 12 M parameters): compare with the port's rows.",),
)


class Attention(nn.Module):
    """Images (N, C, H, W) -> logits (N, classes); (H, W) is `size` and only chooses the form.

    p, t and r count the units around the split, in the trunk and between pools. Raises ValueError for counts below 1,
    other than three stages, or a width that is no multiple of 16.
    """

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        channels_in: int = 3,
        *,
        modules: tuple[int, ...] = (1, 1, 1),
        width: int | None = None,
        levels: tuple[int, ...] | None = None,
        p: int = 1,
        t: int = 2,
        r: int = 1,
        mask: Literal["residual", "naive"] = "residual",
        sums: bool = False,
        pool: bool = False,
    ) -> None:
        super().__init__()
        side = min(size)
        large = side > 64
        base = (256 if large else 128 if side >= 24 else 32) if width is None else width
        levels = ((3, 2, 1) if large else (2, 1, 0)) if levels is None else levels
        _check_sizes(modules, levels, base, (p, t, r))
        self.stem = make_stem(channels_in, base // 4, large, pool)
        stages: list[nn.Module] = []
        channels = base // 4
        for i, (count, n) in enumerate(zip(modules, levels, strict=True)):
            stages.append(ResidualUnit(channels, base * 2**i, stride=1 if i == 0 else 2))
            channels = base * 2**i
            stages += [AttentionModule(channels, n, p, t, r, mask == "naive", sums) for _ in range(count)]
        self.stages = nn.Sequential(*stages)
        self.units = nn.Sequential(
            ResidualUnit(channels, 2 * channels, stride=2 if large else 1),
            ResidualUnit(2 * channels, 2 * channels),
            ResidualUnit(2 * channels, 2 * channels),
        )
        self.norm = nn.BatchNorm2d(2 * channels)
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        x = self.units(self.stages(self.stem(x)))
        return cast(Tensor, self.head(spatial_mean(F.relu(self.norm(x), inplace=True))))


class AttentionModule(nn.Module):
    """One attention module: (N, C, H, W) -> (N, C, H, W). `levels` is n, the depth of the mask branch."""

    def __init__(
        self,
        channels: int,
        levels: int,
        p: int = 1,
        t: int = 2,
        r: int = 1,
        naive: bool = False,
        sums: bool = False,
    ) -> None:
        super().__init__()
        self.naive = naive
        self.before = make_residual_units(channels, p)
        self.trunk = make_residual_units(channels, t)
        self.mask = MaskBranch(channels, levels, r, sums)
        self.after = make_residual_units(channels, p)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the trunk's features by the mask."""
        x = self.before(x)
        trunk = self.trunk(x)
        m = self.mask(x, trunk)
        return cast(Tensor, self.after(m * trunk if self.naive else torch.addcmul(trunk, m, trunk)))


class MaskBranch(nn.Module):
    """The mask M in (0, 1) of a module, from its features x and, if `sums`, its trunk; both (N, C, H, W)."""

    def __init__(self, channels: int, levels: int, r: int, sums: bool) -> None:
        super().__init__()
        between = range(levels - 1)
        self.levels, self.sums = levels, sums
        self.down = nn.ModuleList(make_residual_units(channels, r) for _ in between)
        self.bottom = make_residual_units(channels, 2 * r)
        self.skip = nn.ModuleList(ResidualUnit(channels, channels) for _ in between)
        self.up = nn.ModuleList(make_residual_units(channels, r) for _ in between)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor, trunk: Tensor) -> Tensor:
        """Down to the bottom, and up again past the levels above."""
        z, levels_above = x, []
        for stage in self.down:
            z = stage(_halve_map(z))
            levels_above.append(z)
        z = self.bottom(_halve_map(z) if self.levels else z)
        for level, skip, stage in reversed(list(zip(levels_above, self.skip, self.up, strict=True))):
            z = stage(self._upsample_to(z, level) + skip(level))
        if self.levels:
            z = self._upsample_to(z, trunk)
        return cast(Tensor, self.head(z)).sigmoid()

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the mask."""
        return [Observation("gate", "soft mask of the trunk", output)]

    def _upsample_to(self, z: Tensor, target: Tensor) -> Tensor:
        """Return z at the size of `target`, in the port's reading plus `target` itself."""
        z = F.interpolate(z, size=target.shape[2:], mode="bilinear", align_corners=True)
        return z + target if self.sums else z


class ResidualUnit(nn.Module):
    """Pre-activation bottleneck: (N, C_in, H, W) -> (N, C, H / stride, W / stride).

    If width or size change, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        inner = channels // 4
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        changes = channels_in != channels or stride != 1
        self.project = nn.Conv2d(channels_in, channels, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Bottleneck plus shortcut."""
        a = F.relu(self.norm1(x), inplace=True)
        z = F.relu(self.norm2(self.conv1(a)), inplace=True)
        z = F.relu(self.norm3(self.conv2(z)), inplace=True)
        y: Tensor = self.conv3(z) + (x if self.project is None else self.project(a))
        return y


def make_residual_units(channels: int, count: int) -> nn.Sequential:
    """Return `count` residual units of one width."""
    return nn.Sequential(*(ResidualUnit(channels, channels) for _ in range(count)))


def make_stem(channels_in: int, channels: int, large: bool, pool: bool) -> nn.Sequential:
    """Return the first convolution; for large images with stride 2 and a max-pool, to a quarter of the size."""
    kernel, stride = (7, 2) if large else (3, 1)
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    if large or pool:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    return nn.Sequential(*layers)


def _halve_map(z: Tensor) -> Tensor:
    return F.max_pool2d(z, 3, 2, padding=1)


def _check_sizes(modules: tuple[int, ...], levels: tuple[int, ...], width: int, counts: tuple[int, int, int]) -> None:
    if len(modules) != 3 or min(modules) < 1:
        raise ValueError(f"modules={list(modules)}: three counts of at least 1 are needed")
    if len(levels) != 3 or min(levels) < 0:
        raise ValueError(f"levels={list(levels)}: three depths of at least 0 are needed")
    if width < 16 or width % 16:
        raise ValueError(f"width={width}: a multiple of 16 is needed")
    if min(counts) < 1:
        raise ValueError("p, t and r must be at least 1")
