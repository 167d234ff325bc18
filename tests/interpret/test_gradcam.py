"""Grad-CAM finds the places that speak for a class."""

import pytest
import torch
from torch import Tensor, nn

from attncli.interpret.gradcam import compute_gradcam
from attncli.interpret.token_grid import find_token_grid


class Corner(nn.Module):
    """Class 1 is the brightness of the map's first channel, class 0 its opposite."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2)."""
        s = self.features(x).relu_()[:, 0].mean((1, 2))
        return torch.stack([-s, s], 1)


def test_gradcam_is_the_activation_where_it_speaks_for_the_class() -> None:
    """For a linear reading of one channel the map is that channel, scaled to 1; against the class it is empty."""
    x = torch.zeros(2, 3, 8, 8, requires_grad=True)
    image = x.detach().clone()
    image[0, 0, 2:4, 4:6] = 3.0
    image[0, 1, 6:, 6:] = 9.0
    cam = compute_gradcam(Corner(), image.requires_grad_(), torch.tensor([1, 1]))
    assert cam is not None
    assert cam.shape == (2, 4, 4)
    expected = torch.zeros(4, 4)
    expected[1, 2] = 1.0
    torch.testing.assert_close(cam[0], expected)
    against = compute_gradcam(Corner(), image, torch.tensor([0, 0]))
    assert against is not None
    assert not against.any()


class Tokens(nn.Module):
    """A block of attention with modules on (N, heads, L, d) and (N, heads, L, L); its class token decides."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.qkv, self.head = nn.Linear(32, 96), nn.Linear(32, 2)
        self.norm, self.dropout = nn.Identity(), nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        q, k, v = self.qkv(tokens).unflatten(2, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        mixed = self.dropout((self.norm(q) @ self.norm(k).transpose(2, 3)).softmax(3)) @ v
        return self.head(mixed.transpose(1, 2).flatten(2)[:, 0])


def test_heads_of_tokens_are_no_map() -> None:
    """17 tokens of heads of 16 values have nearly the shape of the image; the map is that of the 4 x 4 patches."""
    cam = compute_gradcam(Tokens(), torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    assert cam is not None
    assert cam.shape == (2, 4, 4)


def test_a_network_without_maps_has_none() -> None:
    """Nothing to look at is told as None."""
    assert (
        compute_gradcam(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.rand(1, 3, 8, 8), torch.tensor([0]))
        is None
    )


@pytest.mark.parametrize(
    ("length", "size", "grid"),
    [
        (64, (32, 32), (8, 8)),
        (65, (32, 32), (8, 8)),
        (50, (224, 224), (7, 7)),
        (32, (32, 64), (4, 8)),
        (7, (32, 32), None),
        (2, (32, 32), None),
        (4, (32, 32), (2, 2)),
    ],
)
def test_tokens_tile_the_image(length: int, size: tuple[int, int], grid: tuple[int, int] | None) -> None:
    """Rows and columns are as near the image's shape as can be, with at most one token that is no place."""
    assert find_token_grid(length, size) == grid
