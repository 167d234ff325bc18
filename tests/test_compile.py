"""torch.compile on a sample of mechanisms: what is compiled computes what is written."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from attncli import model
from attncli.train.loss import TrainingObjective
from tests.test_model import recipe

pytestmark = pytest.mark.skipif(not shutil.which("g++") and not shutil.which("clang++"), reason="no C++ compiler")


def step(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a training batch and every gradient, in float32."""
    loss = TrainingObjective(net, smoothing=0.0, precision="fp32", device=torch.device("cpu"))(x, torch.arange(len(x)))
    loss.backward()
    grads = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return loss.detach(), grads


@pytest.mark.slow
@pytest.mark.parametrize("attn", ["eca", "cbam", "self-attention"])
def test_compiled_training_is_the_same(attn: str) -> None:
    """`train.compile` changes neither the loss nor any gradient by more than rounding."""
    shape = model.InputSpec(10, (16, 16))
    plain, compiled = (model.build(recipe(attn, "resnet20"), shape) for _ in range(2))
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    loss, grads = step(plain, x)
    compiled.compile()
    compiled_loss, compiled_grads = step(compiled, x)
    torch.testing.assert_close(compiled_loss, loss, rtol=1e-4, atol=1e-5)
    assert compiled_grads.keys() == grads.keys()
    for name, grad in grads.items():
        assert (compiled_grads[name] - grad).abs().max() <= 1e-3 * max(1.0, grad.abs().max().item()), name
