"""AFF (attentional feature fusion): branch and shortcut are mixed by a gate that sees positions and the whole map.

    w(z) = sigmoid(T_l(z) + T_g(mean of z over H, W))    (N, C, H, W), T = BN(V relu(BN(U . + u)) + v), U: C -> C / r
    form aff    y = 2 b w + 2 s (1 - w),  w = w(b + s)                   b the branch, s the shortcut
    form iaff   z = b w1 + s (1 - w1),  w1 = w(b + s);  y = b w2 + s (1 - w2),  w2 = w'(z)

T_l works at every position, T_g on the mean, each with its own weights, w' with others again. In place of the sum
b + s. Learns 4 C^2 / r + 6 C / r + 6 C numbers, iaff twice that. Cost: 2 C^2 / r HW multiply-adds, iaff twice that.
w starts near one half: aff near the sum, iaff near half of it.

Where the sources differ: the published networks were trained with the MXNet code, as here. Its PyTorch port calls the
first T_g in both rounds of iaff (`reuse_global=True`), where the second is dead. Published sizes fit r 16, the classes'
default is r 4. A batch of one fails in training: BN on (1, C / r).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import spatial_mean

card = Card(
    title="Attentional Feature Fusion",
    venue="WACV",
    year=2021,
    arxiv="2009.14082",
    site="join",
    code="YimianDai/open-aff@0bcfd8a model/fusion.py",
    dead=("*.0.bias", "*.3.bias"),
    dead_because="a norm follows each and takes it away",
    floor="hidden width max(C // reduction, 1)",
    notes=(
        "Name r with a result: r 4 adds 20 M parameters to ResNet-50, r 16 5 M.",
        "Training needs at least two samples in a batch.",
    ),
    aliases=("iaff form=iaff", "MS-CAM", "attentional-feature-fusion"),
)


class Attention(nn.Module):
    """x (N, C_in, H, W), branch and shortcut (N, C, H', W') -> (N, C, H', W'); x is not looked at.

    Raises ValueError for an unknown form or a reduction below 1.
    """

    def __init__(
        self, channels: int, *, form: Literal["aff", "iaff"] = "aff", reduction: int = 4, reuse_global: bool = False
    ) -> None:
        super().__init__()
        if form not in ("aff", "iaff") or reduction < 1:
            raise ValueError(f"{form=}, {reduction=}: aff or iaff, and at least 1")
        hidden = max(channels // reduction, 1)
        self.form = form
        self.local, self.context = _make_local(channels, hidden), _make_context(channels, hidden)
        if form == "iaff":
            self.second_local = _make_local(channels, hidden)
            self.second_context = None if reuse_global else _make_context(channels, hidden)

    def forward(self, x: Tensor, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Mix branch and shortcut."""
        branch = branch.to(shortcut.dtype)
        w = self.compute_share(branch, shortcut).to(shortcut.dtype)
        mixed = torch.lerp(shortcut, branch, w)
        return 2 * mixed if self.form == "aff" else mixed

    def compute_share(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Return the share of the branch, (N, C, H', W')."""
        w = compute_gate(branch + shortcut, self.local, self.context)
        if self.form == "aff":
            return w
        first = torch.lerp(shortcut, branch, w.to(shortcut.dtype))
        return compute_gate(first, self.second_local, self.second_context or self.context)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the share of the branch."""
        share = self.compute_share(*inputs[1:])
        return [Observation("gate", "share of the branch in the sum", share)]


def compute_gate(z: Tensor, local: nn.Module, context: nn.Module) -> Tensor:
    """Return w, (N, C, H, W), of a map of that shape."""
    from_positions: Tensor = local(z)
    from_map: Tensor = context(spatial_mean(z))
    return torch.sigmoid(from_positions + from_map[:, :, None, None])


def _make_local(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
        nn.BatchNorm2d(channels),
    )


def _make_context(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, channels),
        nn.BatchNorm1d(channels),
    )
