"""SRM: each channel is weighed by its own style, that is its mean and its standard deviation.

    m = mean of x over H, W;  d = sqrt(variance of x over H, W + eps)      (N, C) each
    s = sigmoid(BN(w_0 m + w_1 d))                                         (N, C), one weight pair per channel
    y = x * s                                                              (N, C, H, W)

Learns 4 C numbers per site, starts with w = 0: the gate is exactly 0.5. No channel sees another. Cost: two passes
over x and a product; forward and backward read x in order in either memory layout.

The two parts that the paper's ablation takes away or replaces are options. Style pooling: `pooling` "mean" or
"deviation" takes one of the two. Style integration: `integration` "mlp" replaces the weights w of each channel by two
layers that see all channels, as those of SE do: z = W_1 relu(W_0 [m; d]), h = max(C // reduction, 1) wide, before the
same norm. Of K styles w learns K C numbers, the MLP K C h + h C. The layers have no biases, because the norm would take
away that of the second. W_1 starts at 0, so the gate is 0.5 here too. The MLP gets weight decay like any linear layer.

Where the sources differ: paper and code use the standard deviation, one survey document says variance
(`style="variance"`). The variance is divided by HW - 1, as in the official code (`unbiased=False`: by HW).
"""

import functools
from typing import Any, Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.ops import gate, promote_half, spatial_mean

card = Card(
    title="SRM: A Style-based Recalibration Module for Convolutional Neural Networks",
    venue="ICCV",
    year=2019,
    arxiv="1903.10829",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="hyunjaelee410/style-based-recalibration-module@f6221c7 models/recalibration_modules.py",
    no_weight_decay=("w", "bn"),
    floor="on a 1 x 1 map the variance counts as 0",
    aliases=("srm-layer", "style-based-recalibration"),
    notes=(
        "In training its norm sees one value per sample and channel: small batches are noisy, a batch of one fails.",
        "A count of 6 C parameters found elsewhere includes the running statistics of the norm.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `eps` is added to the variance, `unbiased` divides it by HW - 1.

    `pooling` takes both styles or one of them. `integration` is the paper's channel-wise fully connected layer ("cfc")
    or the MLP that it compares with; `reduction` is C / h of the MLP.
    Raises ValueError for an unknown style, pooling or integration, an eps that is not positive, or a reduction below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        unbiased: bool = True,
        style: Literal["deviation", "variance"] = "deviation",
        pooling: Literal["both", "mean", "deviation"] = "both",
        integration: Literal["cfc", "mlp"] = "cfc",
        reduction: int = 16,
    ) -> None:
        super().__init__()
        if eps <= 0 or style not in ("deviation", "variance"):
            raise ValueError(f"eps={eps}, style={style!r}: eps is positive, style is deviation or variance")
        if pooling not in ("both", "mean", "deviation") or integration not in ("cfc", "mlp"):
            raise ValueError(
                f"pooling={pooling!r}, integration={integration!r}: "
                "pooling is both, mean or deviation, integration is cfc or mlp"
            )
        if reduction < 1:
            raise ValueError(f"reduction={reduction}: at least 1")
        self.eps = eps
        self.unbiased = unbiased
        self.style = style
        self.pooling = pooling
        styles = 2 if pooling == "both" else 1
        mlp = integration == "mlp"
        self.w = None if mlp else nn.Parameter(torch.zeros(channels, styles))
        self.mlp = _make_style_mlp(channels, styles, max(channels // reduction, 1)) if mlp else None
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        styles = self.pool_styles(x)
        if self.mlp is not None:
            z = self.mlp(torch.cat(styles, 1))  # (N, C)
        elif self.w is not None:
            z = functools.reduce(torch.add, (self.w[:, k] * style for k, style in enumerate(styles)))
        return gate(x, torch.sigmoid(self.bn(z)))

    def pool_styles(self, x: Tensor) -> list[Tensor]:
        """Return the chosen styles, mean first: (N, C) each."""
        if self.pooling == "mean":
            return [spatial_mean(promote_half(x))]
        m, variance = spatial_moments(x, max(x.shape[2] * x.shape[3] - self.unbiased, 1))
        variance = variance + self.eps
        d = variance.sqrt() if self.style == "deviation" else variance
        return [m, d] if self.pooling == "both" else [d]


def _make_style_mlp(channels: int, styles: int, hidden: int) -> nn.Sequential:
    """Return two layers from `styles` numbers per channel to one; the second starts at 0."""
    squeeze, expand = nn.Linear(styles * channels, hidden, bias=False), nn.Linear(hidden, channels, bias=False)
    nn.init.zeros_(expand.weight)
    return nn.Sequential(squeeze, nn.ReLU(), expand)


def spatial_moments(x: Tensor, divisor: int) -> tuple[Tensor, Tensor]:
    """Return the mean of x, (N, C, H, W), over H and W, and its summed squared deviations over `divisor`: (N, C) each.

    Of half precision, and under autocast, the moments are taken, and returned, in float32.
    """
    with torch.autocast(x.device.type, enabled=False):  # or the products within would be made in bf16
        m, v = _SpatialMoments.apply(x, divisor)
    return m, v


class _SpatialMoments(torch.autograd.Function):
    """Both moments with the gradient written out: one pass over x; the chain rule by steps takes five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, divisor: int) -> tuple[Tensor, Tensor]:
        values = promote_half(x)
        m = spatial_mean(values)
        out = None if values is x else values  # of half precision the float32 copy is ours to write in
        centred = torch.sub(values, m[:, :, None, None], out=out)  # or a large mean would drown the deviation
        v = spatial_mean(centred.square_()) * (x.shape[2] * x.shape[3] / divisor)
        ctx.save_for_backward(x, m)
        ctx.divisor = divisor
        return m, v

    @staticmethod
    def backward(ctx: Any, grad_m: Tensor, grad_v: Tensor) -> tuple[Tensor, None]:
        x, m = ctx.saved_tensors
        slope = grad_v * (2 / ctx.divisor)  # dL/dx = slope * (x - m) + grad_m / HW
        shift = grad_m / (x.shape[2] * x.shape[3]) - slope * m
        slope, shift = (t.to(x.dtype)[:, :, None, None] for t in (slope, shift))
        return torch.addcmul(shift, x, slope), None
