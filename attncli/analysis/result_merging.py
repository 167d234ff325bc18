"""One's own runs and those of others together: which are the same run, and which can be paired.

A run on the user's own images has the path of these images in its digest. So own runs on images that others used too
are compared in the form in which results travel (`attncli.portable_runs.drop_image_paths`), without that path.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from attncli.analysis.conditions import UNKNOWN, describe_conditions, name_mechanism_code
from attncli.errors import UserError
from attncli.portable_runs import (
    drop_image_paths,
    forget_failed_root,
    forget_images,
    has_files_of_training,
    has_own_images,
)
from attncli.recipe import Model
from attncli.records import Result
from attncli.runs import FailedRun, FinishedRun


def merge_results(
    own: Sequence[FinishedRun], others: Sequence[FinishedRun], *, must_match: bool = True
) -> list[FinishedRun]:
    """Return one's own runs and those of others; a run that several have counts once: one's own, else the first.

    It is the same run if the recipe, the images, the conditions (`attncli.analysis.conditions`) and the code are the
    same. A training of the same recipe under other conditions is another run: it stands in another table.

    Own runs on images of the user that the others used too are returned without the path of the images, and with the
    others' name of the dataset, so that they are pairs. If the others have no name for them, both have the name of
    one's own folder.

    Args:
        own: One's own runs.
        others: Runs of `imported_results`.
        must_match: Whether it is an error if no run of others has the images and settings (all but network and seed)
            of one's own, so that nothing could be paired.

    Raises:
        UserError: A run of the same recipe saw other published images, or nothing matches.
    """
    datasets = {run.result.data_digest: run.dataset for run in others}
    folder_names = {run.result.data_digest: run.images for run in reversed(own) if has_own_images(run.recipe)}
    own = [_adopt_dataset(run, datasets, folder_names) for run in own]
    others = [replace(run, folder_name=folder_names.get(run.result.data_digest, "")) for run in others]
    merged, by_key = [*own], _group_by_key(own)
    for run in others:
        same_recipe = by_key[_make_run_key(run)]
        if any(not twin.is_imported and twin.result.data_digest != run.result.data_digest for twin in same_recipe):
            raise UserError(
                f"run {run.digest} ({run.result.attn}, {run.dataset}) saw other images there than here",
                "the datasets differ: `attncli data verify` checks one's own",
            )
        if not any(_is_same_training(twin.result, run.result) for twin in same_recipe):
            same_recipe.append(run)
            merged.append(run)
    settings = {_make_settings_key(run) for run in own}
    if must_match and own and others and settings.isdisjoint(_make_settings_key(run) for run in others):
        raise UserError(
            "no run in the file has the images and recipe of a run here, so none can be paired",
            "`attncli ls runs` lists the recipes; --alone shows the file by itself",
        )
    return merged


def _group_by_key(runs: Sequence[FinishedRun]) -> dict[tuple[str, str], list[FinishedRun]]:
    by_key: dict[tuple[str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_key[_make_run_key(run)].append(run)
    return by_key


def _is_same_training(result: Result, other: Result) -> bool:
    """Return whether two results of one recipe are of the same images, conditions and code, as far as both say it."""
    pairs = [
        (result.data_digest, other.data_digest),
        (name_mechanism_code(result) or UNKNOWN, name_mechanism_code(other) or UNKNOWN),
        *zip(describe_conditions(result).values(), describe_conditions(other).values(), strict=True),
    ]
    return all(own == theirs or UNKNOWN in (own, theirs) for own, theirs in pairs)


def _adopt_dataset(run: FinishedRun, datasets: Mapping[str, str], folder_names: Mapping[str, str]) -> FinishedRun:
    """Return a run of one's own as the others would have exported it, if they used its images.

    Args:
        run: The run.
        datasets: The others' names of datasets by the digest of their images.
        folder_names: The names of one's own folders, likewise.
    """
    digest = run.result.data_digest
    if digest not in datasets or not has_own_images(run.recipe):
        return run
    return replace(drop_image_paths(run), dataset=datasets[digest], folder_name=folder_names[digest])


def rename_failed_groups(failures: Sequence[FailedRun], others: Sequence[FinishedRun]) -> list[FailedRun]:
    """Return one's own failed runs with the groups that `merge_results` gives to finished runs on the same images.

    A failed run is then one of the seeds of its group, also if only others finished runs of that group.

    Args:
        failures: One's own failed runs.
        others: Runs of `imported_results`.
    """
    data_digests = {run.result.data_digest for run in others}
    return [forget_failed_root(failure) if failure.data_digest in data_digests else failure for failure in failures]


def _make_run_key(run: FinishedRun) -> tuple[str, str]:
    """Return what identifies a run: its digest, and for the user's own images their digest and not their path."""
    if not has_own_images(run.recipe):
        return run.digest, ""
    has_digest = has_files_of_training(run.recipe, run.digest)
    return forget_images(run.recipe).compute_digest() if has_digest else run.digest, run.result.data_digest


def _make_settings_key(run: FinishedRun) -> str:
    """Return what two runs must share to be paired: images with their classes, and recipe without network and seed."""
    recipe = forget_images(run.recipe)
    data = recipe.data.model_copy(update={"classes": None})
    recipe = recipe.model_copy(update={"model": Model(), "data": data})  # their files may be gone
    shared = {name: value for name, value in recipe.build_identity().items() if name not in ("model", "seed")}
    return json.dumps(shared | {"images": run.result.data_digest}, sort_keys=True)
