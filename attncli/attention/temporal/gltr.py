"""GLTR: frames related over short and long ranges, in place of averaging them (a head over a per-frame network).

    x_0 = W_f f + b_f                                        (N, T, d) from frame features f (N, T, C)
    x_i = temporal convolution of x_0, width 3, dilation i, zeros beyond the clip, no bias     i = 1, 2, 3
    u = [x_0, x_1, x_2, x_3]                                 (N, T, 4d)
    A = softmax over s of theta(u)_t . phi(u)_s              (N, T, T), not scaled
    v = u + BN(W (A g(u)))                                   theta, phi, g: 4d -> 2d, W: 2d -> 4d
    y = mean of v over t                                     (N, 4d)
    logits = W_c dropout(ReLU(BN(y))) + b_c                  (N, classes)

Learns 41 d^2 + 26 d numbers between the first and the last layer. Cost a clip: 41 T d^2 + 4 T^2 d multiply-adds,
nothing next to the frames' network. The norm after W starts at zero: v = u in a fresh module.

Where the sources differ: the code has dilations 1, 2, 3 (powers of two are remembered of the paper); its temporal
convolutions are two-dimensional ones over all d features, the same as one-dimensional ones here. Biases of phi, g
and W have no gradient in training: the softmax and the norm cancel them. So does the head's norm with the bias of
the norm after W.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Global-Local Temporal Representations for Video Person Re-Identification",
    venue="ICCV",
    year=2019,
    arxiv="1908.10049",
    site="frames-head",
    code="ljn114514/GLTR@5204197 resnet.py, NonLocalBlock1D.py",
    dead=("core.phi.bias", "core.g.bias", "core.project.bias", "core.norm.bias"),
    dead_because="that of phi adds one number to all values of a softmax, a norm takes away the others",
    aliases=("global-local-temporal-representations",),
    notes=("It relates frames: on still images it has no meaning.",),
)


class Attention(nn.Module):
    """Frame features (N*T, C), the T frames of a clip adjacent -> logits (N, classes).

    Raises ValueError for fewer than two frames, an even kernel or a dilation below 1.
    """

    def __init__(
        self,
        channels: int,
        frames: int,
        classes: int,
        *,
        d: int = 128,
        dilations: tuple[int, ...] = (1, 2, 3),
        kernel_size: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if frames < 2:
            raise ValueError(f"gltr relates the frames of a clip: it needs at least 2, not {frames}")
        self.frames = frames
        self.reduce = nn.Linear(channels, d)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out")
        nn.init.zeros_(self.reduce.bias)
        self.core = GlobalLocalCore(d, dilations, kernel_size)
        width = d * (1 + len(dilations))
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(width, classes)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Classify clips from the features of their frames."""
        y = self.core(self.reduce(x).unflatten(0, (-1, self.frames)))
        return cast(Tensor, self.classify(self.drop(F.relu(self.norm(y)))))


class GlobalLocalCore(nn.Module):
    """The representation itself: frame features (N, T, d) -> clip feature (N, (1 + len(dilations)) d)."""

    def __init__(self, d: int, dilations: tuple[int, ...] = (1, 2, 3), kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: the temporal kernel must be odd and positive")
        if min(dilations, default=1) < 1:
            raise ValueError(f"dilations={list(dilations)}: each must be at least 1")
        self.local = nn.ModuleList(
            nn.Conv1d(d, d, kernel_size, padding=i * (kernel_size // 2), dilation=i, bias=False) for i in dilations
        )
        for conv in self.local:
            nn.init.normal_(cast(nn.Conv1d, conv).weight, std=0.001)
        width = d * (1 + len(dilations))
        inner = max(width // 2, 1)
        self.theta = nn.Linear(width, inner)
        self.phi = nn.Linear(width, inner)
        self.g = nn.Linear(width, inner)
        self.project = nn.Linear(inner, width)
        self.norm = nn.BatchNorm1d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Mean over time of the related frames."""
        return self.relate_frames(x).mean(1)

    def relate_frames(self, x: Tensor) -> Tensor:
        """Return the related frames before their mean, v: (N, T, d) -> (N, T, 4d)."""
        u = self.gather_neighbours(x)
        z = F.scaled_dot_product_attention(self.theta(u), self.phi(u), self.g(u), scale=1.0)
        v: Tensor = u + self.norm(self.project(z).flatten(0, 1)).unflatten(0, u.shape[:2])
        return v

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what each frame takes from which."""
        u = self.gather_neighbours(inputs[0])
        a = (self.theta(u) @ self.phi(u).transpose(1, 2)).softmax(2)
        return [Observation("affinity", "frames attended to", a)]

    def gather_neighbours(self, x: Tensor) -> Tensor:
        """Return each frame beside what the dilated convolutions read around it, u: (N, T, d) -> (N, T, 4d)."""
        channels_first = x.transpose(1, 2)  # (N, d, T)
        return torch.cat((x, *(conv(channels_first).transpose(1, 2) for conv in self.local)), dim=-1)
