"""Own facts of EncNet's context encoding module."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import attention
from attncli.attention.channel.encnet import Attention
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"ncodes": 2}, {"ncodes": 16}, {"output": "product"}, {"codes": "sum"}]

RESNET18 = (64, 64, 128, 128, 256, 256, 512, 512)
RESNET20 = (16,) * 3 + (32,) * 3 + (64,) * 3

NAMES = {
    "encoding.0.": "project.",
    "encoding.1.": "bn.",
    "encoding.3.codewords": "codewords",
    "encoding.3.scale": "scale",
    "encoding.4.": "code_bn.",
    "fc.0.": "excite.",
}


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C^2 + 3 C + K C + 3 K (claim enc-params)."""
    c, k = facts["channels"], options.get("ncodes", 32)
    return 2 * c * c + 3 * c + k * c + 3 * k


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """EncModule(in_channels, nclass, ncodes=32, se_loss=True, norm_layer): outputs[0], without the presence head."""
    k, c = params["encoding.3.codewords"].shape
    state = {}
    for key, value in params.items():
        for theirs, ours in NAMES.items():
            if key.startswith(theirs):
                state[ours + key.removeprefix(theirs)] = value
    return Attention(c, ncodes=k), state


@pytest.mark.parametrize(("widths", "total"), [(RESNET18, 1_429_504), (RESNET20, 39_072)])
def test_totals_of_the_card(widths: tuple[int, ...], total: int) -> None:
    """With K = 16 in every block the parameters are the card's."""
    assert sum(parameters({"channels": c}, {"ncodes": 16}) for c in widths) == total


def test_presence_logits_of_the_fixture() -> None:
    """The official presence head on our encoding gives the official logits, so the encoding itself agrees."""
    arrays = np.load(shared("parity/encnet.npz"))
    params = {k.removeprefix("param/"): torch.from_numpy(arrays[k]) for k in arrays.files if k.startswith("param/")}
    module, state = official({}, params)
    module.double().eval().load_state_dict(state)
    logits = F.linear(
        module.encode_pixels(torch.from_numpy(arrays["x"])), params["selayer.weight"], params["selayer.bias"]
    )
    torch.testing.assert_close(logits, torch.from_numpy(arrays["y_se"]), rtol=0, atol=1e-9)


def test_hand_computed_encoding() -> None:
    """Two pixels f = 1, 3 and codewords 0, 2 with t = -1: softmax weights and residuals summed by hand."""
    module = Attention(1, ncodes=2).double()
    with torch.no_grad():
        module.codewords.copy_(torch.tensor([[0.0], [2.0]]))
        module.scale.fill_(-1.0)
    f = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)  # (N, M, C)
    near, far = 0.5, 1 / (1 + math.exp(9 - 1))  # pixel 1: equal distances; pixel 3: 9 against 1
    expected = [near * 1 + far * 3, near * -1 + (1 - far) * 1]
    torch.testing.assert_close(module.aggregate_residuals(f).flatten().tolist(), expected, rtol=1e-12, atol=0)


def test_aggregate_equals_the_residuals_written_out() -> None:
    """The expanded square and split sum equal sum_i A_ik (f_i - d_k)."""
    module = randomise(Attention(6, ncodes=5).double())
    f = torch.randn(2, 7, 6, dtype=torch.float64)
    residuals = f[:, :, None] - module.codewords  # (N, M, K, C)
    a = (module.scale * residuals.square().sum(3)).softmax(2)
    torch.testing.assert_close(module.aggregate_residuals(f), (a[..., None] * residuals).sum(1), rtol=1e-10, atol=1e-12)


def test_nearest_codeword_weighs_most() -> None:
    """The factors start in (-1, 0): with equal ones the nearest codeword gets the largest weight."""
    module = Attention(4, ncodes=3)
    assert -1 <= module.scale.min() <= module.scale.max() <= 0
    assert module.codewords.abs().max() <= 1 / math.sqrt(12)
    nn.init.constant_(module.scale, -0.5)
    f = module.codewords.detach()[None] * 0.99
    assert (module.assign_codewords(f)[0].argmax(1) == torch.arange(3)).all()


def test_a_single_codeword_is_sum_pooling_with_an_offset() -> None:
    """With K = 1, E = M (mean of f - d) (claim enc-k1)."""
    module = randomise(Attention(6, ncodes=1).double())
    f = torch.randn(2, 7, 6, dtype=torch.float64)
    expected = 7 * (f.mean(1, keepdim=True) - module.codewords)
    torch.testing.assert_close(module.aggregate_residuals(f), expected, rtol=1e-12, atol=1e-13)


def test_encoding_ignores_positions() -> None:
    """Permuting the pixels leaves the encoding as it is (claim enc-orderless)."""
    module = randomise(Attention(8).double()).eval()
    x = torch.randn(2, 8, 20, 1, dtype=torch.float64)
    torch.testing.assert_close(
        module.encode_pixels(x[:, :, torch.randperm(20)]), module.encode_pixels(x), rtol=0, atol=1e-11
    )


def test_output_range() -> None:
    """The output lies between relu(x) and 2 relu(x) (claim enc-gate-range); the product between x and 0."""
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    y = randomise(Attention(8).double()).eval()(x)
    assert (x.relu() <= y).all()
    assert (y <= 2 * x.relu()).all()
    y = randomise(Attention(8, output="product").double()).eval()(x)
    assert (y.abs() <= x.abs()).all()
    assert torch.equal(y.sign(), x.sign())


def test_sum_is_k_times_the_mean() -> None:
    """codes=sum adds the K encodings, as the paper writes."""
    mean, total = (randomise(Attention(8, ncodes=4, codes=codes).double()).eval() for codes in ("mean", "sum"))
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(total.encode_pixels(x), 4 * mean.encode_pixels(x))


def test_half_precision_does_not_overflow() -> None:
    """Squared distances above float16's 65504 stay finite, as they are taken in float32."""
    module = Attention(4).eval()
    with torch.autocast("cpu", torch.float16):
        assert module.aggregate_residuals(torch.full((1, 6, 4), 300.0).half()).isfinite().all()


def test_it_goes_to_the_head_or_into_blocks() -> None:
    """The card puts it on the last map, and names the gate for the paper's CIFAR experiment."""
    card = attention.describe_mechanism("encnet").card
    assert card.site == "head"
    assert "gate" in card.sites


@pytest.mark.parametrize("options", [{"ncodes": 0}, {"output": "sum"}, {"codes": "max"}])
def test_refusals(options: dict[str, Any]) -> None:
    """No codewords, and unknown names, are refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)
