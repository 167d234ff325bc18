"""The command that tests a claim, or tests it further: one that runs as it is printed."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from attncli import data
from attncli.claims import language, networks
from attncli.claims.claim_files import Claim
from attncli.claims.evidence import Evidence
from attncli.claims.language import ACCURACY, ClaimTree
from attncli.claims.schedules import find_stand_in
from attncli.claims.verdict import ClaimVerdict, ComparisonOutcome, TrainedOutcome
from attncli.dataset_catalog import has_origin
from attncli.errors import quote_word
from attncli.runs import RECIPE, FinishedRun
from attncli.track.tags import name_images

SMALL_DATASET = "cifar10"  # for what is claimed of a large one and tested on a small network
ROOT_PLACEHOLDER = "DIR"  # stands for the folder of images that attncli cannot download


def suggest_training(
    claim: Claim,
    tree: ClaimTree,
    backbone: str | None,
    parts: Sequence[ComparisonOutcome],
    evidence: Evidence,
) -> str:
    """Return the command that trains what a claim about accuracy lacks.

    If runs tested the claim already, the command goes on with their recipe; else it is the claim's own dataset, or one
    that stands in for it if attncli cannot get it. In place of images that the user would have to bring, it takes the
    user's own if the user judges claims by runs on them (`--folder-is`, `--backbone`).

    Args:
        claim: The claim.
        tree: Its tree as it was judged.
        backbone: The network that it was judged with instead of its own, if any.
        parts: Its comparisons as they were judged.
        evidence: The finished runs.
    """
    words = ["attncli", "claims", "run", claim.id, *claim.file_option]
    words += [*(["--backbone", backbone] if backbone else []), *evidence.store_options]
    if recipe_file := _find_own_recipe(parts, evidence.runs):
        return shlex.join([*words, "--recipe", str(recipe_file)])
    accuracies = [q for q in language.iterate_quantities(tree) if q.name in ACCURACY]
    settings = {dict(q.settings).get("dataset") for q in accuracies}
    dataset = (
        None if None not in settings else _choose_dataset(claim, backbone, {q.network.base.name for q in accuracies})
    )
    words += ["--dataset", dataset] if dataset else []
    used_datasets = {str(dataset or name or claim.on) for name in settings}
    if not any(needs_root(name) for name in used_datasets):
        return shlex.join(words)
    if settings == {None} and (recipe_file := _find_recipe_on_own_images(evidence)):
        return shlex.join([*words, "--recipe", str(recipe_file)])
    return shlex.join([*words, "--data-root", ROOT_PLACEHOLDER])


def describe_unused_runs(verdicts: Sequence[ClaimVerdict], evidence: Evidence) -> list[str]:
    """Return one line per network and dataset of finished runs that no verdict uses, with the options that use them.

    Only networks that were trained with a mechanism and without are listed.
    """
    trained = [part for verdict in verdicts for part in verdict.parts if isinstance(part, TrainedOutcome)]
    used_digests = {digest for part in trained for digest in part.digests}
    groups: dict[tuple[str, str, bool], list[FinishedRun]] = {}
    for run in evidence.runs:
        if run.digest not in used_digests and run.result.test_top1 is not None:
            is_own = has_origin(run.dataset, "user", "hub")
            groups.setdefault((run.recipe.model.backbone, name_images(run.recipe), is_own), []).append(run)
    lines = []
    for (backbone, images, is_own), runs in groups.items():
        if len({run.result.attn for run in runs}) < 2 or (evidence.backbone == backbone and not is_own):
            continue
        folder_option = " --folder-is NAME" if is_own else ""
        lines.append(
            f"{len(runs)} finished runs of {backbone} on {images} are not used: "
            f"`attncli claims --backbone {quote_word(backbone)}{folder_option}`"
            + (" (NAME: the dataset whose images these are)" if is_own else "")
        )
    return lines


def needs_root(dataset: str) -> bool:
    """Return whether the images of a dataset are neither here nor to be downloaded."""
    return has_origin(dataset, "request") and data.describe_availability(dataset, data.find_default_root()) != "there"


def _choose_dataset(claim: Claim, backbone: str | None, names: set[str]) -> str | None:
    """Return the dataset to use instead of the claim's, or None if the claim's own is the one."""
    if backbone and not networks.has_small_images(claim.on):
        return SMALL_DATASET
    return find_stand_in(claim.on, names)


def _find_recipe_on_own_images(evidence: Evidence) -> Path | None:
    """Return the recipe file of the runs on the user's own images by which claims are judged; None without any."""
    for run in evidence.runs:
        has_own_images = has_origin(run.recipe.data.name, "user")
        is_meant = run.dataset != run.recipe.data.name or run.recipe.model.backbone == evidence.backbone
        if has_own_images and is_meant and run.folder is not None and not run.is_imported:
            return run.folder / RECIPE
    return None


def _find_own_recipe(parts: Sequence[ComparisonOutcome], runs: Sequence[FinishedRun]) -> Path | None:
    """Return the recipe file of a run that tested the claim, if all of its tested parts share one recipe."""
    trained = [part for part in parts if isinstance(part, TrainedOutcome) and part.digests]
    if len({part.protocol for part in trained}) != 1:
        return None
    own_runs = [run for run in runs if run.digest in trained[0].digests and not run.is_imported]
    folders = [run.folder for run in own_runs if run.folder is not None]
    return folders[0] / RECIPE if folders else None
