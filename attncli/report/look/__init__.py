"""What a network's attention does, as pictures: a sheet for each image, and one of all sites over many images."""

from pathlib import Path
from typing import TYPE_CHECKING

from attncli.report.look.sheet import draw_image_sheet
from attncli.report.look.spread import draw_distributions

if TYPE_CHECKING:
    from attncli.sight import AttentionAnalysis  # torch stays out of drawing

__all__ = ["draw_attention_figures", "draw_image_sheet", "draw_distributions"]


def draw_attention_figures(analysis: "AttentionAnalysis", folder: Path, title: str) -> list[Path]:
    """Draw attention.png (where there are sites) and look-<index>.png for each image into the folder; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if analysis.distributions:
        files.append(folder / "attention.png")
        draw_distributions(analysis.distributions, analysis, files[0], title)
    for image in analysis.images:
        files.append(folder / f"look-{image.index}.png")
        draw_image_sheet(image, analysis, files[-1], title)
    return files
