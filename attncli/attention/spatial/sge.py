"""SGE (spatial group-wise enhance): positions that agree with their group's mean are weighed up.

    x in G groups of C / G channels
    t_p = x_p . mean of x over positions                  (N, G, H W), one number per group and position
    t = (t - mean_p t) / (std_p t + 1e-5)                 std with n - 1
    y = x * sigmoid(weight_g t + bias_g)                  (N, C, H, W)

Learns 2 G numbers. Cost: a mean, a weighted sum over channels and a product over x. weight = 0 and bias = 1 at the
start: the gate is 0.731 everywhere.

Where the sources differ: a popular port starts the bias at 0 (a gate of 0.5). On a map of one position the official
code divides by zero; here t is 0 there and the gate sigmoid(bias).
"""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.channel_groups import choose_groups
from attncli.attention.mean_deviation import mean_deviation
from attncli.attention.ops import promote_half

card = Card(
    title="Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
    venue="arXiv",
    year=2019,
    arxiv="1905.09646",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="implus/PytorchInsight@2864528 classification/models/imagenet/resnet_sge.py",
    no_weight_decay=("weight", "bias"),
    floor="G is the largest divisor of C up to `groups`; on a 1 x 1 map the gate is sigmoid(bias)",
    notes=("The gate starts at 0.731 everywhere, so the branch shrinks at first.",),
    aliases=("SpatialGroupEnhance", "SGENet"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `groups` is G, `start_bias` what the bias starts at.

    Raises ValueError for fewer than one group.
    """

    def __init__(self, channels: int, *, groups: int = 64, start_bias: float = 1.0) -> None:
        super().__init__()
        self.groups = choose_groups(channels, groups)
        self.weight = nn.Parameter(torch.zeros(self.groups, 1, 1))
        self.bias = nn.Parameter(torch.full((self.groups, 1, 1), start_bias))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the positions of each group."""
        g = x.unflatten(1, (self.groups, -1))  # (N, G, C / G, H, W)
        t = promote_half((g * g.mean((3, 4), keepdim=True)).sum(2))  # (N, G, H, W)
        t = standardise(t) if t.shape[2] * t.shape[3] > 1 else torch.zeros_like(t)
        s = torch.sigmoid(torch.addcmul(self.bias, t, self.weight)).to(x.dtype)
        return (g * s[:, :, None]).flatten(1, 2)


def standardise(t: Tensor) -> Tensor:
    """Return t, (N, G, H, W), with mean 0 and deviation 1 over its positions; a constant map becomes 0."""
    mean, deviation = mean_deviation(t, (2, 3))
    return (t - mean) / (deviation + 1e-5)
