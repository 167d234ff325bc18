"""RAM: a recurrent network that sees the image only through glimpses whose places it chooses (a whole network).

Locations l = (l_x, l_y) in [-1, 1]^2, (-1, -1) the top left corner; l_0 ~ U(-1, 1)^2, h_0 = 0; sg stops the gradient.

    retina:   k squares of side g s^i around pixel floor((l + 1) / 2 (W, H)), zeros outside the image, each averaged
              to g x g; phi = all of them, in the order scale, channel, row, column
    glimpse:  u_t = ReLU(W3 ReLU(W1 phi + b1) + b3 + W4 ReLU(W2 l_{t-1} + b2) + b4)
    core:     h_t = ReLU(W_i u_t + b_i + W_h h_{t-1} + b_h)                                   D = h_g + h_l wide
    location: mu_t = tanh(V2 ReLU(V1 sg(h_t) + c1) + c2), l_t ~ N(mu_t, std^2) clamped to [-1, 1]
    baseline: b_t = w sg(h_t) + c;    class: log softmax(W_c h_T + b_c) after the last glimpse
    loss:     NLL + mean (b_t - R)^2 + 0.01 mean over images of sum_t -log pi_t (R - sg(b_t)), R = 1 if right, else 0

log pi_t is taken before the clamp, and that of the last, unused location counts too. Cost a glimpse: k g^2 C h_g +
3 D^2 multiply-adds or so, whatever the size of the image. By its shorter side, if `patch_size` or `num_patches`
is None (an option that is given wins):

    side           below 16   16 to 47   48 to 79   80 to 127   from 128
    g, k           4, 1       8, 1       12, 3      12, 4       12, 5        (paper: 28, 60 and 100 px)

The crop is an integer: the loss reaches the location network through REINFORCE only. In eval mode sampling stays on,
as in the code, and the log-probabilities of `rollouts` roll-outs are averaged: accuracy is a random variable under
the global generator. `eval_locations="mean"` makes it a fixed one: start at the centre, follow mu_t. Everything is
computed in float32 or better, also under autocast: a location that rounds to another pixel is another glimpse.

Where the sources differ: the maths is that of the usual PyTorch code (the authors released none). The paper has one
linear layer for mu_t (`location_head="linear"`) and doubles the side from scale to scale, which is the default here
(the code's 1 only serves k = 1). The code takes H for both coordinates; here x goes with W, the same on squares.
`policy="random"` is the paper's baseline without a policy: uniform locations, loss NLL.
"""

import math
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import promote_half

card = Card(
    title="Recurrent Models of Visual Attention",
    venue="NIPS",
    year=2014,
    arxiv="1406.6247",
    site="model",
    code="kevinzakka/recurrent-visual-attention@a38ac89 modules.py, model.py, trainer.py",
    aliases=("recurrent-attention", "recurrent-models-of-visual-attention"),
    notes=(
        "It has its own loss: REINFORCE with a learned baseline.",
        "Evaluation draws locations: fix the seed, average rollouts, or set eval_locations to mean, and say which.",
        "arXiv v1 and the NIPS proceedings give different errors for the same rows.",
    ),
)

BY_SIDE = ((16, (4, 1)), (48, (8, 1)), (80, (12, 3)), (128, (12, 4)))
LARGE = (12, 5)


class Rollout(NamedTuple):
    """What happens over T glimpses of N images; entries over time are stacked first."""

    h: Tensor  # (T, N, D)
    locations: Tensor  # (T + 1, N, 2), the first one included
    log_pi: Tensor | None  # (T, N), None under the random policy
    baseline: Tensor | None  # (T, N), likewise
    log_probs: Tensor  # (N, classes), after the last glimpse


class Attention(nn.Module):
    """Images (N, C, H, W) -> log-probabilities (N, classes); (H, W) is `size` and only chooses the patches.

    Raises ValueError for a count below 1, a deviation that is not positive, or roll-outs of a fixed path.
    """

    draws: ClassVar[bool] = True

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        channels_in: int = 3,
        *,
        patch_size: int | None = None,
        num_patches: int | None = None,
        glimpse_scale: int = 2,
        glimpse_hidden: int = 128,
        loc_hidden: int = 128,
        num_glimpses: int = 6,
        std: float = 0.05,
        policy: Literal["learned", "random"] = "learned",
        location_head: Literal["mlp", "linear"] = "mlp",
        reinforce: float = 0.01,
        rollouts: int = 1,
        eval_locations: Literal["sample", "mean"] = "sample",
    ) -> None:
        super().__init__()
        g, k = default_patches(min(size))
        g, k = g if patch_size is None else patch_size, k if num_patches is None else num_patches
        if min(g, k, glimpse_scale, glimpse_hidden, loc_hidden, num_glimpses, rollouts) < 1 or std <= 0:
            raise ValueError("patches, scales, widths, glimpses and rollouts must be at least 1, std positive")
        if eval_locations == "mean" and (rollouts > 1 or policy == "random"):
            raise ValueError("eval_locations=mean follows one fixed path: it takes rollouts=1 and the learned policy")
        d = glimpse_hidden + loc_hidden
        self.steps, self.std, self.reinforce = num_glimpses, std, reinforce
        self.rollouts, self.follow_mean = rollouts, eval_locations == "mean"
        self.glimpse = GlimpseNetwork(glimpse_hidden, loc_hidden, g, k, glimpse_scale, channels_in)
        self.i2h, self.h2h = nn.Linear(d, d), nn.Linear(d, d)
        self.classify = nn.Linear(d, classes)
        self.locate = make_location_head(d, location_head) if policy == "learned" else None
        self.expect = nn.Linear(d, 1) if policy == "learned" else None

    def forward(self, x: Tensor) -> Tensor:
        """Classify images: one roll-out in training, the mean of `rollouts` or the fixed path in eval mode."""
        if self.training or (self.rollouts == 1 and not self.follow_mean):
            return self.draw_rollout(x).log_probs
        if self.follow_mean:
            zeros = torch.zeros(self.steps, len(x), 2, device=x.device)
            return self.run_rollout(x, zeros[0], zeros).log_probs
        return torch.stack([self.draw_rollout(x).log_probs for _ in range(self.rollouts)]).mean(0)

    def loss(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (hybrid loss, log-probabilities) of one roll-out; targets are classes (N,) or shares (N, classes).

        With shares the reward R is the share of the predicted class.
        """
        out = self.draw_rollout(x)
        nll = F.cross_entropy(out.log_probs, target)
        if out.log_pi is None or out.baseline is None:
            return nll, out.log_probs
        predicted = out.log_probs.detach().argmax(1)
        is_right = target.gather(1, predicted[:, None])[:, 0] if target.ndim == 2 else predicted == target
        reward = is_right.to(nll.dtype).expand_as(out.baseline)  # (T, N), the same at every step
        policy = (-out.log_pi * (reward - out.baseline.detach())).sum(0).mean()
        return nll + F.mse_loss(out.baseline, reward) + self.reinforce * policy, out.log_probs

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the glimpses of the (first) roll-out; nothing is read at the last location."""
        x = inputs[0]
        zeros = torch.zeros(self.steps, len(x), 2, device=x.device)
        out = self.run_rollout(x, zeros[0], zeros) if self.follow_mean and not self.training else self.draw_rollout(x)
        locations = out.locations[:-1].transpose(0, 1)
        return [Observation("path", "glimpses", locations, sides=tuple(self.glimpse.sides))]

    def draw_rollout(self, x: Tensor) -> Rollout:
        """Run a roll-out with the global random generator."""
        first = 2 * torch.rand(len(x), 2, device=x.device) - 1
        noise = torch.rand if self.locate is None else torch.randn
        return self.run_rollout(x, first, noise(self.steps, len(x), 2, device=x.device))

    def run_rollout(self, x: Tensor, first: Tensor, noise: Tensor) -> Rollout:
        """Take T glimpses of x, the first at `first` (N, 2), the next ones by `noise` (T, N, 2).

        The noise is standard normal for the learned policy, uniform in [0, 1) for the random one.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = promote_half(x)
            first, noise = first.to(x.dtype), noise.to(x.dtype)
            padded = self.glimpse.pad_images(x)
            h = x.new_zeros(len(x), self.h2h.in_features)
            hidden, locations, log_pi = [], [first], []
            for e in noise:
                h = F.relu(self.i2h(self.glimpse.encode_glimpse(padded, locations[-1])) + self.h2h(h))
                hidden.append(h)
                location, p = self.choose_location(h.detach(), e)
                locations.append(location)
                log_pi.append(p)
            states = torch.stack(hidden)
            return Rollout(
                states,
                torch.stack(locations),
                None if self.locate is None else torch.stack(log_pi),
                None if self.expect is None else self.expect(states.detach())[..., 0],
                F.log_softmax(self.classify(h), dim=1),
            )

    def choose_location(self, h: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return (next location, its log-probability) from the state h (N, D) and the noise e (N, 2)."""
        if self.locate is None:
            return 2 * e - 1, e.new_zeros(len(e))
        mu = self.locate(h)
        location = (mu + self.std * e).detach()
        log_pi = (-0.5 * ((location - mu) / self.std) ** 2 - math.log(self.std * math.sqrt(2 * math.pi))).sum(1)
        return location.clamp(-1, 1), log_pi


class GlimpseNetwork(nn.Module):
    """Retina and glimpse network: images (N, C, H, W) and locations (N, 2) -> u (N, h_g + h_l)."""

    def __init__(self, glimpse_hidden: int, loc_hidden: int, g: int, k: int, s: int, channels_in: int) -> None:
        super().__init__()
        d = glimpse_hidden + loc_hidden
        self.sides = [g * s**i for i in range(k)]
        self.what1, self.what2 = nn.Linear(k * g * g * channels_in, glimpse_hidden), nn.Linear(glimpse_hidden, d)
        self.where1, self.where2 = nn.Linear(2, loc_hidden), nn.Linear(loc_hidden, d)

    def forward(self, x: Tensor, location: Tensor) -> Tensor:
        """Look at x around `locations`."""
        return self.encode_glimpse(self.pad_images(x), location)

    def encode_glimpse(self, padded: Tensor, location: Tensor) -> Tensor:
        """Return what is around `locations` in images that `pad_images` has padded, and if that is."""
        what = self.what2(F.relu(self.what1(self.extract_retina(padded, location))))
        return F.relu(cast(Tensor, what + self.where2(F.relu(self.where1(location)))))

    def pad_images(self, x: Tensor) -> Tensor:
        """Return x with as many zeros around it as the widest square can reach."""
        low = self.sides[-1] // 2
        return F.pad(x, (low, self.sides[-1] - low) * 2)

    def extract_retina(self, padded: Tensor, location: Tensor) -> Tensor:
        """Return phi, (N, k C g g): the squares around `locations`, averaged to the size of the smallest.

        The widest square is cut out once; the others lie inside it at fixed places.
        """
        side, g = self.sides[-1], self.sides[0]
        height, width = padded.shape[2] - side, padded.shape[3] - side
        column, row = ((0.5 * ((u + 1.0) * n)).long() for u, n in zip(location.unbind(1), (width, height), strict=True))
        steps = torch.arange(side, device=location.device)
        rows, columns = row[:, None] + steps, column[:, None] + steps  # (N, side) in padded coordinates
        n = torch.arange(len(location), device=location.device)[:, None, None]
        widest = padded.movedim(1, -1)[n, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)  # (N, C, side, side)
        low = [side // 2 - a // 2 for a in self.sides]
        squares = [widest[:, :, i : i + a, i : i + a] for i, a in zip(low, self.sides, strict=True)]
        return torch.cat([F.avg_pool2d(q, q.shape[-1] // g).flatten(1) for q in squares], dim=1)


def make_location_head(d: int, head: str) -> nn.Sequential:
    """Return the layers from the state (N, D) to mu (N, 2)."""
    if head == "linear":
        return nn.Sequential(nn.Linear(d, 2))
    return nn.Sequential(nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, 2), nn.Tanh())


def default_patches(side: int) -> tuple[int, int]:
    """Return (g, k) for an image whose shorter side has `side` pixels."""
    return next((patches for below, patches in BY_SIDE if side < below), LARGE)
