"""What a network's attention does, as pictures: a sheet for each image, and one of all sites over many images."""

from pathlib import Path
from typing import TYPE_CHECKING

from attncli.report.look.sheet import sheet
from attncli.report.look.spread import spread

if TYPE_CHECKING:
    from attncli.sight import Study  # torch stays out of drawing

__all__ = ["pictures", "sheet", "spread"]


def pictures(study: "Study", folder: Path, title: str) -> list[Path]:
    """Draw attention.png (where there are sites) and look-<index>.png for each image into the folder; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    if study.spreads:
        made.append(folder / "attention.png")
        spread(study.spreads, study, made[0], title)
    for image in study.images:
        made.append(folder / f"look-{image.index}.png")
        sheet(image, study, made[-1], title)
    return made
