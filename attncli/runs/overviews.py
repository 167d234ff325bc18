"""A line of a list for each run, finished or not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attncli.errors import UserError
from attncli.runs.folders import RECIPE, read_folder_recipe
from attncli.runs.mlflow_rows import list_missing_rows
from attncli.track import RunStore, read_finished_result
from attncli.track.provenance import read_provenance
from attncli.track.tags import format_run_name, name_images


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """One line of a list of runs, finished or not."""

    digest: str
    status: str
    dataset: str
    backbone: str
    attn: str
    seed: int | None
    epochs: int | None
    test_top1: float | None
    name: str = ""
    images: str = ""  # the dataset; for the user's own images the name of their folder
    started_ms: int = 0  # since 1970
    seconds: float | None = None


def list_run_overviews(store: RunStore) -> list[RunOverview]:
    """Return every run of the folder in any state, and those that only the MLflow store has, newest first.

    Raises:
        UserError: The store does not answer.
    """
    overviews = list(_list_folder_overviews(store.runs))
    digests = {overview.digest for overview in overviews}
    overviews += [_convert_row_to_overview(row) for row in list_missing_rows(store, digests)]
    return sorted(overviews, key=lambda overview: overview.started_ms, reverse=True)


def _convert_row_to_overview(row: Mapping[str, Any]) -> RunOverview:
    started_ms, ended_ms = row["started_ms"] or 0, row["ended_ms"]
    names = ("digest", "status", "dataset", "backbone", "attn", "seed", "epochs", "test_top1", "name")
    return RunOverview(
        **{name: row[name] for name in names},
        images=row["dataset"],
        started_ms=started_ms,
        seconds=(ended_ms - started_ms) / 1000 if ended_ms and started_ms else None,
    )


def _list_folder_overviews(runs: Path) -> Iterator[RunOverview]:
    """Yield an overview of each run folder; those without a readable recipe are skipped."""
    for path in runs.glob(f"*/{RECIPE}"):
        folder = path.parent
        result, provenance = read_finished_result(folder), read_provenance(folder)
        try:
            recipe = read_folder_recipe(folder)
            name, images = format_run_name(recipe), name_images(recipe)
        except (OSError, ValueError, yaml.YAMLError, UserError):
            continue
        if result is None and provenance is None:
            continue
        status = result.status if result is not None else provenance.current_status() if provenance else ""
        yield RunOverview(
            digest=folder.name,
            status=status,
            dataset=recipe.data.name,
            backbone=recipe.model.backbone_label,
            attn=result.attn if result else recipe.model.attn,
            seed=recipe.seed,
            epochs=recipe.train.epochs,
            test_top1=result.test_top1 if result else None,
            name=name,
            images=images,
            started_ms=provenance.started_ms if provenance else 0,
            seconds=result.seconds if result else None,
        )
