"""Mechanisms as a user might write them, right and wrong."""

from pathlib import Path

HEAD = """
import torch
from torch import nn

from attncli.attention.card import Card

card = Card(title="Mine", venue="-", year=2025, arxiv=None, site="{site}", code="-")


class Attention(nn.Module):
    def __init__(self, {facts}: int, *, scale: float = 1.0) -> None:
        super().__init__()
        {init}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {value}
"""


def write(
    path: Path,
    value: str = "x * torch.sigmoid(self.weight * x.mean((2, 3), keepdim=True))",
    *,
    site: str = "gate",
    facts: str = "channels",
    init: str = "self.weight = nn.Parameter(torch.full((channels, 1, 1), scale))",
    first: str = "",
) -> str:
    """Write a mechanism's file and give its path; without more it is a good one."""
    path.write_text(first + HEAD.format(site=site, facts=facts, init=init, value=value))
    return str(path)
