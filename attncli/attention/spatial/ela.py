"""ELA (efficient local attention): each channel is weighed by its row and its column, found by a 1-D convolution.

    p = mean of x over W                                 (N, C, H);  q = mean of x over H   (N, C, W)
    f = sigmoid(GN(conv1d_k(.)))                         the same convolution and norm for p and q
    y = x * f(p) * f(q)                                  (N, C, H, W)

The strip's ends are padded with zeros; GN takes its statistics over the channels of a group and the strip. Forms:
T k 5 depth-wise, 32 groups in GN; B k 7 depth-wise, 16; S k 5 with C / 8 groups in the convolution, 16; L k 7 with
C / 8, 16. Learns 7 C, 9 C, 42 C, 58 C numbers. Cost: two means and two products over x.

Where the sources differ: there is no official code; the form B of the SCSA authors is followed. `timm` has a
convolution and a norm for each direction, one group in GN and a SiLU before the sigmoid (`form="timm"`, 18 C). Another
collection has a dense convolution. Widths that the groups do not divide take the largest divisor below.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.axis_reductions import axis_mean, memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.channel_groups import choose_groups, normalize_groups
from attncli.attention.observation import Observation

card = Card(
    title="ELA: Efficient Local Attention for Deep Convolutional Neural Networks",
    venue="arXiv",
    year=2024,
    arxiv="2403.01123",
    site="gate",
    sites=("mid", "pre-norm", "block-input", "stage", "head"),
    code="HZAI-ZJNU/SCSA@8c46866 mmpretrain/models/attentions/ELA.py",
    floor="groups are the largest divisor of C up to the form's",
    notes=(
        "No official code was published; kernels and groups of the forms are those that its ports quote.",
        "The gate starts near a quarter.",
        "timm's ela is form=timm.",
    ),
    aliases=("efficient-local-attention", "EfficientLocalAttn form=timm"),
)

FORMS = {"t": (5, 1, 32), "b": (7, 1, 16), "s": (5, 8, 16), "l": (7, 8, 16), "timm": (7, 1, 1)}  # k, width, GN groups


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `form` is t, b, s, l or timm; `kernel` and `groups` (of GN) replace the form's.

    Raises ValueError for another form, an even kernel or fewer than one group.
    """

    def __init__(
        self,
        channels: int,
        *,
        form: Literal["t", "b", "s", "l", "timm"] = "b",
        kernel: int | None = None,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"{form=}: one of {', '.join(FORMS)}")
        own_kernel, width, own_groups = FORMS[form]
        k = own_kernel if kernel is None else kernel
        if k < 1 or k % 2 == 0:
            raise ValueError(f"kernel={k}: it must be odd and positive")
        norm_groups = choose_groups(channels, own_groups if groups is None else groups)
        conv_groups = choose_groups(channels, max(channels // width, 1))
        directions = ("rows", "columns") if form == "timm" else ("both",)
        self.convs = nn.ModuleDict(
            {d: nn.Conv1d(channels, channels, k, padding=k // 2, groups=conv_groups, bias=False) for d in directions}
        )
        self.norms = nn.ModuleDict({d: nn.GroupNorm(norm_groups, channels) for d in directions})
        self.has_silu = form == "timm"

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x by its row and its column."""
        y = memory_order(x, x)
        for s in self.compute_strip_gates(x):
            y = y * memory_order(s.to(x.dtype), x)
        return usual_order(y, x)

    def compute_strip_gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates of the rows, (N, C, H, 1), and of the columns, (N, C, 1, W)."""
        rows = self.compute_gate(axis_mean(x, 3).flatten(2), "rows")[..., None]
        return rows, self.compute_gate(axis_mean(x, 2).flatten(2), "columns")[:, :, None]

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return both gates."""
        rows, columns = self.compute_strip_gates(inputs[0])
        return [Observation("gate", "weight of the rows", rows), Observation("gate", "weight of the columns", columns)]

    def compute_gate(self, strip: Tensor, direction: str) -> Tensor:
        """Return f, (N, C, L), of a strip of means, (N, C, L)."""
        layer = direction if direction in self.convs else "both"
        t = normalize_groups(self.convs[layer](strip), self.norms[layer])
        return torch.sigmoid(F.silu(t) if self.has_silu else t)
