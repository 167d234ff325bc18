"""GALA: what (one number per channel) and where (one number per position), mixed by sum and product.

    g = W2 relu(W1 mean_hw(x) + b1) + b2                        (N, C)
    l = conv_{h->1}(relu(conv_{C->h}(x)))                       (N, 1, H, W), 1x1, with biases, h = C / r
    s = tanh(a * (g + l) + m * (g * l))                         (N, C, H, W), a and m one number per channel
    y = s * x

Learns 3Ch + 3h + 3C + 1 numbers. Cost: the 1x1 convolution to h channels, one pass to mix, one product. The gate
lies in (-1, 1): it can invert features, and starts small, which is safe on a residual branch only.

Where the sources differ: the released TensorFlow code squashes with sigmoid unless told otherwise, has one more 5x5
convolution with ReLU between the two 1x1 ones (`extra_conv=1`), and rectifies g, a default of its layer library;
here the paper's formula is followed. Its networks put the module on the input of every block of the third stage
(site block-input, stages 3), or after the last norm of the first block of every stage. The paper also trains on
maps of where people clicked, with a loss of its own; only the module is here.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.ops import gate, spatial_mean

card = Card(
    title="Learning what and where to attend",
    venue="ICLR",
    year=2019,
    arxiv="1805.08819",
    site="gate",
    sites=("block-input", "pre-norm", "mid", "stage", "head"),
    code="serre-lab/gala_tpu@65bd06e resnet_helpers.py, with the paper's formula in place of its defaults",
    floor="hidden width max(C // reduction, 1)",
    aliases=("global-and-local-attention",),
    notes=(
        "The module without the paper's human click maps: its gain must not be expected of the module alone.",
        "The gate starts near 0: outside a residual branch the signal all but vanishes at first.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `interaction` keeps the sum or the product of g and l only, without a and m.

    Raises ValueError for unknown options, a reduction below 1 or a negative number of extra convolutions.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        squash: Literal["tanh", "sigmoid"] = "tanh",
        extra_conv: int = 0,
        interaction: Literal["both", "additive", "multiplicative"] = "both",
    ) -> None:
        super().__init__()
        if squash not in ("tanh", "sigmoid") or interaction not in ("both", "additive", "multiplicative"):
            raise ValueError(f"{squash=}, {interaction=}: tanh or sigmoid; both, additive or multiplicative")
        if reduction < 1 or extra_conv < 0:
            raise ValueError(f"{reduction=}, {extra_conv=}: 1 or more, 0 or more")
        h = max(channels // reduction, 1)
        self.squash = torch.tanh if squash == "tanh" else torch.sigmoid
        self.additive = interaction == "additive"
        self.what = nn.Sequential(nn.Linear(channels, h), nn.ReLU(), nn.Linear(h, channels))
        layers: list[nn.Module] = [nn.Conv2d(channels, h, 1), nn.ReLU()]
        for _ in range(extra_conv):
            layers += [nn.Conv2d(h, h, 5, padding=2), nn.ReLU()]
        self.where = nn.Sequential(*layers, nn.Conv2d(h, 1, 1))
        self.a = self.m = None
        if interaction == "both":
            self.a, self.m = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self._initialize_weights()

    def _initialize_weights(self) -> None:
        """Draw the weights as the authors' TensorFlow code does: a and m count as having one input each."""
        for layer in (*self.what, *self.where):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
            if isinstance(layer, nn.Conv2d):
                scale_variance(layer.weight, layer.weight[0].numel())
            if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if self.a is not None and self.m is not None:
            scale_variance(self.a, 1)
            scale_variance(self.m, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x by what its channel and where its position is."""
        g, where = self.what(spatial_mean(x)), memory_order(self.where(x), x)
        if self.a is not None and self.m is not None:
            constant, slope = self.a * g, self.a + self.m * g  # a (g + l) + m g l = a g + (a + m g) l
        else:
            constant, slope = (g, torch.ones_like(g)) if self.additive else (torch.zeros_like(g), g)
        constant, slope = (memory_order(t[:, :, None, None].to(where.dtype), x) for t in (constant, slope))
        return gate(x, usual_order(self.squash(torch.addcmul(constant, slope, where)), x))


def scale_variance(t: Tensor, inputs: int) -> Tensor:
    """Draw t from a normal distribution cut at two deviations, scaled to have variance 1 / inputs after the cut."""
    std = inputs**-0.5 / 0.8796256610342398  # the deviation that a standard normal cut at 2 has left
    return nn.init.trunc_normal_(t, std=std, a=-2 * std, b=2 * std)
