"""Maps of one row, one column or one value, as small images leave in the last stages: nothing may break on them."""

import pytest
import torch

from attncli import attention
from tests.attention.case import DEFAULT_FACTS, Case, forward, randomise

ON_MAPS = [
    n for n in attention.mechanism_names() if attention.describe_mechanism(n).card.site not in ("model", "frames-head")
]
SIZES = [(1, 1), (2, 2), (1, 3), (3, 1)]
REFUSED = {("gsop", (1, 1)): "no covariance"} | {("stn", size): "too small to localise" for size in SIZES}
FACTS = {"channels": 16, "channels_in": 16, "stage": 2}


def case(name: str, size: tuple[int, int]) -> Case:
    """The mechanism with its defaults on a narrow map, in the second stage."""
    return Case(name, DEFAULT_FACTS | FACTS | {"size": size})


@pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("name", ON_MAPS)
def test_small_maps_train_or_are_refused(name: str, size: tuple[int, int]) -> None:
    """Two samples train in bf16 with finite values and gradients, fresh or not, and one evaluates."""
    tried = case(name, size)
    if (name, size) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name, size]):
            tried.build()
        return
    for module in (tried.build(), randomise(tried.build())):
        inputs = tuple(x.requires_grad_() for x in tried.inputs(n=2, dtype=torch.float32))
        with torch.autocast("cpu", torch.bfloat16):
            y = forward(module.train(), inputs)
        assert y.shape == tried.output_shape(n=2)
        y.float().square().sum().backward()
        assert y.isfinite().all()
        grads = {"input": inputs[0].grad} | {n: p.grad for n, p in module.named_parameters()}
        assert all(g is None or g.isfinite().all() for g in grads.values()), grads
        with torch.no_grad():
            assert forward(module.eval(), tuple(x[: len(x) // 2] for x in inputs)).isfinite().all()


SCORING = {  # what scores positions
    "psa": "predict", "danet": "query", "self-attention": "query", "external": "keys", "criss-cross": "query",
    "gc": "mask", "polarized": "channel_query", "a2": "gather", "bot": "positions", "aa": "positions",
}  # fmt: skip


@pytest.mark.parametrize("name", SCORING)
def test_nothing_can_be_attended_to_on_one_position(name: str) -> None:
    """On a 1x1 map attention between positions has weight 1 whatever it learns: what scores positions gets no gradient.

    So these mechanisms run there, as pointwise layers, and their cards say so.
    """
    module = randomise(case(name, (1, 1)).build().double().train())
    forward(module, case(name, (1, 1)).inputs(n=4)).square().sum().backward()
    grads = [p.grad for n, p in module.named_parameters() if SCORING[name] in n]
    assert grads
    assert all(g is None or g.abs().max() < 1e-12 for g in grads)
    assert "1 x 1" in attention.describe_mechanism(name).card.floor
