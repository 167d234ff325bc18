"""Own facts of CoT."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import attention
from attncli.attention.self_attention.cot import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"kernel": 5}, {"reduction": 8}, {"min_hidden": 4}]
FACTS = [{}, {"channels_in": 16, "channels": 16, "stride": 2, "size": (10, 7)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """k^2 C^2 / 4 + 2 C; 2 C h + 2 h + h k^2 C/8 + 3 k^2 C/8; C^2 + 2 C; 2 C; C a + 3 a + 2 a C + 2 C."""
    c, k2 = facts["channels"], options.get("kernel", 3) ** 2
    h, a = 2 * c // options.get("reduction", 4), max(c // 2, options.get("min_hidden", 32))
    kernels = k2 * c // 8
    embed = 2 * c * h + 2 * h + h * kernels + 3 * kernels
    return k2 * c * c // 4 + 2 * c + embed + c * c + 4 * c + 3 * c * a + 3 * a + 2 * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """CotLayer(dim, kernel_size): key_embed, embed, conv1x1, bn, se."""
    names = {"key_embed": "key", "embed": "embed", "conv1x1": "value", "bn": "norm", "se": "fuse"}
    state = {}
    for name, value in params.items():
        layer, _, rest = name.partition(".")
        state[f"{names[layer]}.{rest}"] = value.flatten(1) if layer == "se" and value.ndim == 4 else value
    return Attention(meta["ctor"]["dim"], meta["ctor"]["dim"], kernel=meta["ctor"]["kernel_size"]), state


def test_weights_of_the_contexts_sum_to_one() -> None:
    """For every channel (claim cot-fusion)."""
    module = randomise(Attention(16, 16).double())
    w = module.weigh_contexts(*module.compute_contexts(torch.randn(3, 16, 5, 4, dtype=torch.float64)))
    assert w.min() > 0
    torch.testing.assert_close(w.sum(2), torch.ones(3, 16, dtype=torch.float64))


def test_dynamic_context_is_local() -> None:
    """With the kernels fixed by a zero last layer, a position depends on its 3 x 3 window (claim cot-local)."""
    module = randomise(Attention(16, 16).double()).eval()
    for leaf in ("weight", "bias"):
        nn.init.zeros_(module.embed[3].get_parameter(leaf))
    x = torch.randn(1, 16, 7, 7, dtype=torch.float64, requires_grad=True)
    module.compute_contexts(x)[0][0, :, 3, 3].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    assert (seen - 3).abs().max() == 1


def test_channels_share_kernels_interleaved() -> None:
    """Channel c takes kernel c mod C/8: with one kernel switched on, every second of 16 channels is seen."""
    module = Attention(16, 16).double().eval()
    nn.init.zeros_(module.embed[4].weight)
    module.embed[4].bias.data = torch.tensor([1.0] * 9 + [0.0] * 9, dtype=torch.float64)
    dynamic, _ = module.compute_contexts(torch.randn(1, 16, 4, 4, dtype=torch.float64))
    assert dynamic.abs().amax((0, 2, 3)).gt(0).tolist() == [True, False] * 8


def test_stride_is_a_pool_before() -> None:
    """A 3x3 average pool on the input."""
    plain, strided = randomise(Attention(16, 16).double()).eval(), Attention(16, 16, 2).double().eval()
    strided.load_state_dict(plain.state_dict())
    x = torch.randn(1, 16, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(strided(x), plain(nn.AvgPool2d(3, 2, 1)(x)))


def test_card_puts_it_in_place_of_conv_and_norm() -> None:
    """It brings its own norms and replaces the last convolution of a basic block, which never widens."""
    card = attention.describe_mechanism("cot").card
    assert (card.site, card.replaces_norm, card.convs) == ("conv", True, "last")


@pytest.mark.parametrize(
    ("channels", "options", "word"),
    [(24, {}, "equal"), (16, {"kernel": 2}, "odd"), (16, {"reduction": 0}, "reduction")],
)
def test_refusals(channels: int, options: dict[str, Any], word: str) -> None:
    """Widths that differ, an even kernel, no hidden layer; and 8 channels share a kernel."""
    with pytest.raises(ValueError, match=word):
        Attention(channels, 16, **options)
    with pytest.raises(ValueError, match="divide by 8"):
        Attention(12, 12)
