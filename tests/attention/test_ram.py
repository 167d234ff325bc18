"""Own facts of RAM."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention.spatial.ram import Attention, GlimpseNetwork, default_patches
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"patch_size": 3},
    {"num_patches": 2},
    {"num_patches": 2, "glimpse_scale": 3},
    {"glimpse_hidden": 24},
    {"loc_hidden": 24},
    {"num_glimpses": 2},
    {"std": 0.2},
    {"policy": "random"},
    {"location_head": "linear"},
    {"reinforce": 0.1},
    {"rollouts": 3},
    {"eval_locations": "mean"},
]
FACTS: list[dict[str, Any]] = [{"size": (8, 8), "channels_in": 1}, {"size": (21, 26), "channels_in": 3}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Glimpse network, core, class; location and baseline where there is a policy."""
    h_g, h_l = options.get("glimpse_hidden", 128), options.get("loc_hidden", 128)
    d, classes = h_g + h_l, facts["classes"]
    g, k = options.get("patch_size", 4 if facts["size"][0] == 8 else 8), options.get("num_patches", 1)
    total = k * g * g * facts["channels_in"] * h_g + h_g + 2 * h_l + h_l + h_g * d + d + h_l * d + d
    total += 2 * (d * d + d) + d * classes + classes
    if options.get("policy") == "random":
        return total
    head = 2 * d + 2 if options.get("location_head") == "linear" else d * (d // 2) + d // 2 + 2 * (d // 2) + 2
    return total + head + d + 1


NAMES = (
    ("sensor.", "glimpse."),
    ("fc1.", "what1."),
    ("fc2.", "where1."),
    ("fc3.", "what2."),
    ("fc4.", "where2."),
    ("rnn.", ""),
    ("locator.fc.", "locate.0."),
    ("locator.fc_lt.", "locate.2."),
    ("classifier.fc.", "classify."),
    ("baseliner.fc.", "expect."),
)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """GlimpseNetwork(h_g, h_l, g, k, s, c), or RecurrentAttention(g, k, s, c, h_g, h_l, std, hidden, classes)."""
    args = meta.get("ctor") or meta["args"]
    state = {}
    for name, value in params.items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        state[name] = value
    if meta["cls"].endswith("GlimpseNetwork"):
        return GlimpseNetwork(args["h_g"], args["h_l"], args["g"], args["k"], args["s"], args["c"]), state
    module = Attention(
        args["num_classes"],
        (28, 28),
        args["c"],
        patch_size=args["g"],
        num_patches=args["k"],
        glimpse_scale=args["s"],
        glimpse_hidden=args["h_g"],
        loc_hidden=args["h_l"],
        std=args["std"],
        num_glimpses=meta.get("T", 6),
    )
    return module, state


def run(module: nn.Module, data: dict[str, Tensor]) -> Tensor:
    """The glimpse at the recorded locations, or the roll-out under the recorded noise."""
    if isinstance(module, GlimpseNetwork):
        return module(data["x"], data["l"])
    assert isinstance(module, Attention)
    return module.run_rollout(data["x"], data["l"][0], data["noise"]).log_probs


def fixture(stem: str) -> tuple[Any, dict[str, Tensor]]:
    """(our module with the official weights, arrays) of a parity fixture."""
    arrays = np.load(shared(f"parity/{stem}.npz"))
    data = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta"}
    params = {k.removeprefix("param/"): v for k, v in data.items() if k.startswith("param/")}
    module, state = official(json.loads(str(arrays["meta"])), params)
    module.double().load_state_dict(state)
    return module, data


def test_retina_and_where_path_of_the_fixture() -> None:
    """phi equals the official retina's, and the gradient through the where-path its grad_l."""
    module, data = fixture("ram")
    at = data["l"].requires_grad_()
    torch.testing.assert_close(
        module.extract_retina(module.pad_images(data["x"]), at), data["phi"], rtol=1e-9, atol=1e-10
    )
    (module(data["x"], at) * data["w"]).sum().backward()
    torch.testing.assert_close(at.grad, data["grad_l"], rtol=1e-9, atol=1e-10)


def test_whole_path_of_the_fixture() -> None:
    """States, locations, baselines and log pi of every step equal the official model's."""
    module, data = fixture("ram-model")
    out = module.run_rollout(data["x"], data["l"][0], data["noise"])
    for name, found in (("h", out.h), ("l", out.locations), ("baseline", out.baseline), ("log_pi", out.log_pi)):
        torch.testing.assert_close(found, data[name], rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize(("side", "count"), [(28, 242_317), (60, 289_421), (100, 307_853)])
def test_parameters_of_the_card(side: int, count: int) -> None:
    """The paper's patches are the defaults at its image sizes, and give the card's parameters."""
    assert sum(p.numel() for p in Attention(10, (side, side), 1).parameters()) == count


def test_hand_computed_retina() -> None:
    """A 4x4 image at its centre: 2x2 as it is, then 4x4 averaged; at the corner the outside is 0."""
    retina = GlimpseNetwork(2, 2, 2, 2, 2, 1)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    padded = retina.pad_images(x)
    assert retina.extract_retina(padded, torch.zeros(1, 2)).tolist() == [[5, 6, 9, 10, 2.5, 4.5, 10.5, 12.5]]
    assert retina.extract_retina(padded, -torch.ones(1, 2)).tolist() == [[0, 0, 0, 0, 0, 0, 0, 2.5]]
    assert retina.extract_retina(padded, torch.ones(1, 2)).tolist() == [[15, 0, 0, 0, 12.5, 0, 0, 0]]


def test_x_goes_with_columns() -> None:
    """l = (x, y): x moves along the columns and y along the rows, also where H is not W."""
    retina = GlimpseNetwork(2, 2, 1, 1, 1, 1)
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert retina.extract_retina(retina.pad_images(x), torch.tensor([[0.5, -1.0]])).item() == 3
    assert retina.extract_retina(retina.pad_images(x), torch.tensor([[-1.0, 0.0]])).item() == 4


def test_odd_patches_reach_the_border() -> None:
    """An odd patch at l = 1 is whole, as an even one."""
    retina = GlimpseNetwork(2, 2, 3, 1, 1, 1)
    x = torch.ones(1, 1, 5, 5)
    assert retina.extract_retina(retina.pad_images(x), torch.ones(1, 2)).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0, 0]]


def test_loss_equals_the_formula() -> None:
    """NLL + mean (b - R)^2 + 0.01 mean_n sum_t -log pi (R - b), the densities taken from torch.distributions."""
    module = randomise(Attention(4, (8, 8), 1, num_glimpses=3, std=0.3).double())
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    torch.manual_seed(7)
    first, noise = 2 * torch.rand(6, 2) - 1, torch.randn(3, 6, 2)
    out = module.run_rollout(x, first, noise)
    target = (out.log_probs.argmax(1) + torch.tensor([0, 1, 0, 2, 0, 3])) % 4  # half of them right
    torch.manual_seed(7)
    loss, logits = module.loss(x, target)
    mu = module.locate(out.h)
    log_pi = torch.distributions.Normal(mu, 0.3).log_prob(mu + 0.3 * noise).sum(-1)
    reward = (logits.argmax(1) == target).double()
    assert reward.sum() == 3
    b = module.expect(out.h)[..., 0]
    expected = F.nll_loss(logits, target) + ((b - reward) ** 2).mean()
    torch.testing.assert_close(loss, expected + 0.01 * (-log_pi * (reward - b)).sum(0).mean())


def test_shares_as_targets() -> None:
    """One-hot shares give the same loss as classes."""
    module = randomise(Attention(4, (8, 8), 1).double())
    x, target = torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 3, 1])
    found = []
    for y in (target, F.one_hot(target, 4).double()):
        torch.manual_seed(1)
        found.append(module.loss(x, y)[0])
    torch.testing.assert_close(found[0], found[1])


def gradients(reinforce: float) -> dict[str, float]:
    """The largest gradient of every parameter under the whole loss with this weight of REINFORCE."""
    module = randomise(Attention(4, (8, 8), 1, reinforce=reinforce).double())
    torch.manual_seed(2)
    module.loss(torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.arange(5) % 4)[0].backward()
    return {n: p.grad.abs().max().item() for n, p in module.named_parameters() if p.grad is not None}


def test_crop_is_not_differentiable() -> None:
    """Without the REINFORCE term the location network has no gradient (claim ram-nondiff)."""
    without, whole = gradients(0.0), gradients(0.01)
    assert all(v == 0 for n, v in without.items() if n.startswith("locate"))
    assert all(v > 0 for n, v in whole.items() if n.startswith("locate"))


def test_reinforce_does_not_train_the_core() -> None:
    """Location and baseline read a detached state: core and glimpse gradients do not depend on REINFORCE."""
    without, whole = gradients(0.0), gradients(0.01)
    assert {n: v for n, v in without.items() if "locate" not in n} == {
        n: v for n, v in whole.items() if "locate" not in n
    }


def test_work_does_not_grow_with_the_image() -> None:
    """With the same patches, 60x60 and 100x100 cost the same operations (claim ram-compute)."""

    def flops(side: int) -> int:
        module = Attention(10, (side, side), 1, patch_size=12, num_patches=3)
        with FlopCounterMode(display=False) as counter:
            module(torch.randn(1, 1, side, side))
        return counter.get_total_flops()

    assert flops(60) == flops(100) > 0


def test_random_policy_has_none() -> None:
    """Under the random policy locations are uniform, nothing chooses them, and the loss is the NLL."""
    module = Attention(4, (8, 8), 1, policy="random", num_glimpses=400)
    x, target = torch.randn(2, 1, 8, 8), torch.tensor([0, 1])
    torch.manual_seed(0)
    at = module.draw_rollout(x).locations
    assert (at.abs() <= 1).all()
    assert at.mean().item() == pytest.approx(0, abs=0.05)
    assert at.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.03)
    loss, logits = module.loss(x, target)
    torch.testing.assert_close(loss, F.nll_loss(logits, target))


def test_rollouts_are_averaged_in_eval_mode() -> None:
    """In eval mode the log-probabilities of M roll-outs are averaged; in training one is drawn."""
    module = randomise(Attention(4, (8, 8), 1, rollouts=3).double()).eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.manual_seed(5)
    mean = module(x)
    torch.manual_seed(5)
    each = [module.draw_rollout(x).log_probs for _ in range(3)]
    torch.testing.assert_close(mean, sum(each) / 3)
    torch.manual_seed(5)
    torch.testing.assert_close(module.train()(x), each[0])


def test_mean_locations_are_deterministic() -> None:
    """eval_locations=mean draws nothing: it starts at the centre and follows mu."""
    module = randomise(Attention(4, (8, 8), 1, eval_locations="mean").double()).eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    state = torch.get_rng_state()
    assert torch.equal(module(x), module(x))
    assert torch.equal(torch.get_rng_state(), state)
    out = module.run_rollout(x, torch.zeros(2, 2), torch.zeros(6, 2, 2))
    assert not out.locations[0].any()
    torch.testing.assert_close(out.locations[1:], module.locate(out.h))


def test_locations_stay_inside() -> None:
    """Locations are clamped to [-1, 1], log pi is that of the draw before the clamp."""
    module = randomise(Attention(4, (8, 8), 1, std=5.0).double())
    noise = torch.full((6, 2, 2), 3.0)
    out = module.run_rollout(torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.zeros(2, 2), noise)
    assert (out.locations[1:] == 1).all()
    expected = 2 * (-0.5 * 9 - math.log(5 * math.sqrt(2 * math.pi)))
    torch.testing.assert_close(out.log_pi, torch.full_like(out.log_pi, expected))


def test_precision_under_autocast() -> None:
    """Under bf16 autocast the same glimpses are taken: everything stays in float32."""
    module = Attention(4, (28, 28), 1).eval()
    x = torch.randn(3, 1, 28, 28)
    torch.manual_seed(0)
    plain = module(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), plain)


@pytest.mark.parametrize(
    ("side", "patches"), [(8, (4, 1)), (28, (8, 1)), (60, (12, 3)), (100, (12, 4)), (224, (12, 5))]
)
def test_default_patches(side: int, patches: tuple[int, int]) -> None:
    """28, 60 and 100 px have the paper's patches; 8 px images smaller, 224 px wider ones."""
    assert default_patches(side) == patches


@pytest.mark.parametrize(
    "options",
    [
        {"patch_size": 0},
        {"num_glimpses": 0},
        {"std": 0.0},
        {"eval_locations": "mean", "rollouts": 2},
        {"eval_locations": "mean", "policy": "random"},
    ],
    ids=str,
)
def test_refusals(options: dict[str, Any]) -> None:
    """Counts below 1, no deviation, and several roll-outs of a fixed path are refused."""
    with pytest.raises(ValueError, match=r"at least 1|fixed path"):
        Attention(4, (8, 8), 1, **options)
