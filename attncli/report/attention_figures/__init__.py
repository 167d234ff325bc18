"""Figures of what a network's attention does: one sheet per image, and one of all sites over many images."""

from pathlib import Path
from typing import TYPE_CHECKING

from attncli.report.attention_figures.distribution import draw_distributions
from attncli.report.attention_figures.image_sheet import draw_image_sheet

if TYPE_CHECKING:
    from attncli.interpret import AttentionAnalysis

__all__ = ["draw_attention_figures", "draw_distributions", "draw_image_sheet"]


def draw_attention_figures(analysis: "AttentionAnalysis", folder: Path, title: str) -> list[Path]:
    """Draw attention.png (if there are sites) and look-<index>.png for each image into the folder. Return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if analysis.distributions:
        files.append(folder / "attention.png")
        draw_distributions(analysis.distributions, analysis, files[0], title)
    for image in analysis.images:
        files.append(folder / f"look-{image.index}.png")
        draw_image_sheet(image, analysis, files[-1], title)
    return files
