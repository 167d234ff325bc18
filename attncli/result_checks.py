"""Check a file of results that somebody sends: is each run whole, and do its recipe, records and predictions agree?"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from attncli import records, validation
from attncli.errors import UserError
from attncli.portable_runs import drop_own_files, forget_image_root, list_own_files
from attncli.quantities import format_quantity
from attncli.recipe import Recipe, find_key_errors, load_yaml
from attncli.records import Epoch, Evaluation, Result, Speed
from attncli.runs import RECIPE
from attncli.system.code_reference import label_mechanism_name
from attncli.track.predictions import ImagePredictions, read_predictions
from attncli.track.provenance import Provenance, read_provenance

BACKWARD_FACTOR = 3  # MACs of a training step per MAC of inference: forward, and two products backward
MOST_MACS_PER_S = {"cpu": 2e13, "cuda": 2e15, "mps": 5e13}  # of one process, above what devices of today reach
TIME_TOLERANCE = 1.05  # a run's seconds are rounded, its epochs are timed by themselves
FEWEST_EQUAL = 100  # test images from which equal predictions of two networks may be a copy and no chance
FEWEST_WRONG = 20  # wrong answers among them: good networks make the same few errors, copies any number


def find_result_problems(folder: Path, info: Mapping[str, Any]) -> list[str]:
    """Return one line for each problem of an extracted file of results; none if it is good.

    Args:
        folder: Where `attncli.result_files.extract_results` put the runs.
        info: What it returned.
    """
    present = sorted(path.name for path in folder.iterdir())
    listed = [str(digest) for digest in info.get("runs", [])]
    problems = [f"{digest}: in the list of runs, but not in the file" for digest in listed if digest not in present]
    problems += [f"{digest}: in the file, but not in the list of runs" for digest in present if digest not in listed]
    problems += [f"{digest}: {count} times in the list" for digest, count in Counter(listed).items() if count > 1]
    for digest in present:
        problems += [f"{digest}: {problem}" for problem in _check_run(folder / digest)]
    return problems + _find_copies(folder, present)


def _check_run(folder: Path) -> Iterator[str]:
    """Yield the problems of one run; without recipe and result nothing else can be checked."""
    recipe, errors = _read_checked_recipe(folder)
    yield from (f"{RECIPE}: {error.problem}" for error in errors)
    result = records.read_result(folder)
    if result is None:
        yield f"{records.RESULT}: missing, or not a result"
    provenance = read_provenance(folder)
    if provenance is None:
        yield "origin.json: missing, or not the origin of a run"
    elif provenance.status != "FINISHED":
        yield f"origin.json: the run is {provenance.status}, not FINISHED"
    if recipe is not None and result is not None:
        yield from _check_identity(folder.name, recipe, result)
    if result is not None:
        yield from _check_test(folder, result, provenance)
        yield from _check_speeds(folder, result)


def _read_checked_recipe(folder: Path) -> tuple[Recipe | None, list[UserError]]:
    """Return the recipe of a run, or None, and its errors; files of the user that it names need not be here."""
    try:
        tree = load_yaml(folder / RECIPE)
        errors = find_key_errors(tree)
        if not errors:
            recipe = Recipe.model_validate(tree)
            errors = validation.find_recipe_errors(drop_own_files(recipe).model_dump())
    except UserError as error:
        return None, [error]
    return (None, errors) if errors else (recipe, [])


def describe_unchecked_digests(folder: Path) -> str:
    """Return a line about the runs whose digests count files that do not travel, "" if there are none.

    Args:
        folder: Where `attncli.result_files.extract_results` put the runs.
    """
    recipes = [recipe for path in folder.iterdir() if (recipe := _read_checked_recipe(path)[0]) is not None]
    files_by_run = [files for recipe in recipes if (files := list_own_files(recipe))]
    if not files_by_run:
        return ""
    runs, names = format_quantity(len(files_by_run), "run"), ", ".join(sorted({*chain(*files_by_run)}))
    return f"the digests of {runs} are not checked, as their code and files do not travel: {names}"


def _check_identity(digest: str, recipe: Recipe, result: Result) -> Iterator[str]:
    """Yield the problems of digests, and where recipe and result name different things.

    Digests of recipes that name the user's files count their content, which is not in the file.
    """
    groups: tuple[str, ...] = (result.group,)
    if not list_own_files(recipe):
        portable_recipe = forget_image_root(recipe)
        groups = (portable_recipe.compute_group(), recipe.compute_group())
        if digest not in (portable_recipe.compute_digest(), recipe.compute_digest()):
            yield f"the digest of its recipe is {portable_recipe.compute_digest()}"
    expected = {
        "digest": (result.digest, (digest,)),
        "group": (result.group, groups),
        "seed": (result.seed, (recipe.seed,)),
        "backbone": (result.backbone, (recipe.model.backbone_label, label_mechanism_name(recipe.model.attn))),
        "dataset": (result.dataset, (recipe.data.name,)),
        "epochs": (result.epochs, (recipe.train.epochs,)),
    }
    for name, (value, allowed) in expected.items():
        if value not in allowed:
            yield f"{name} is {value} in the result, and {allowed[0]} by the recipe"


def _check_test(folder: Path, result: Result, provenance: Provenance | None) -> Iterator[str]:
    """Yield where the numbers of test images and of correct ones differ between result, records and predictions."""
    evaluations = [r for r in records.read(folder) if isinstance(r, Evaluation) and r.split == "test"]
    counts = {"the result": (result.test_images, result.test_correct)}
    if not evaluations:
        yield f"{records.LOG}: no evaluation of the test images"
    elif not _has_square_confusion(evaluations[-1]):
        yield f"{records.LOG}: the confusion matrix has not a row, a column and a count of images per class"
    else:
        cells = sum(evaluations[-1].count_images_by_class())
        counts["the log"] = (evaluations[-1].images, evaluations[-1].count_correct())
        if cells != evaluations[-1].images:
            yield f"{records.LOG}: images in the confusion matrix {cells}, in the evaluation {evaluations[-1].images}"
    predictions = read_predictions(folder)
    if predictions is None:
        yield "predictions.npz: missing, or not predictions"
    else:
        counts["the predictions"] = (len(predictions.predicted), int(predictions.mark_correct().sum()))
    if len(set(counts.values())) > 1:
        yield "test images, and how many of them correct: " + ", ".join(
            f"{images} and {correct} in {source}" for source, (images, correct) in counts.items()
        )
    if result.test_top1 is not None and result.test_images and result.test_correct is not None:
        top1 = result.test_correct / result.test_images
        if abs(top1 - result.test_top1) > records.SMALLEST_DIFFERENCE:
            yield f"top-1 is {result.test_top1}, and {top1} by the numbers of images"
    facts = provenance.facts if provenance else None
    if facts is not None and facts.digest != result.data_digest:
        yield "the digest of the images is not the same in result and origin"
    if facts is not None and result.test_images is not None and facts.test != result.test_images:
        yield f"{format_quantity(result.test_images, 'test image')} in the result, {facts.test} in the dataset"


def _has_square_confusion(evaluation: Evaluation) -> bool:
    """Return whether the confusion matrix and the images without a finite loss are of the same classes."""
    classes, nonfinite = len(evaluation.confusion), evaluation.nonfinite_by_class
    return all(len(row) == classes for row in evaluation.confusion) and len(nonfinite) in (0, classes)


def _check_speeds(folder: Path, result: Result) -> Iterator[str]:
    """Yield what no machine can have done: more MACs per second than there are, epochs longer than the run."""
    log = records.read(folder)
    epochs = [record for record in log if isinstance(record, Epoch)]
    if len(epochs) != result.epochs:
        yield f"{records.LOG}: {format_quantity(len(epochs), 'epoch')}, and {result.epochs} in the result"
    train_seconds = sum(epoch.train_seconds for epoch in epochs)
    if train_seconds > result.seconds * TIME_TOLERANCE:
        yield f"trained for {train_seconds:.0f} s in a run of {result.seconds:.0f} s"
    rates = {f"epoch {epoch.epoch}": epoch.train_images_per_s for epoch in epochs}
    for speed in (record for record in log if isinstance(record, Speed)):
        rates["the timing"] = speed.train_images_per_s
        if not speed.train_ratio_low <= speed.train_ratio <= speed.train_ratio_high:
            yield f"train_ratio {speed.train_ratio} is outside of its interval"
    processes = result.machine.get("processes", 1)
    most = MOST_MACS_PER_S.get(result.device.partition(":")[0], max(MOST_MACS_PER_S.values()))
    most *= processes if isinstance(processes, int) else 1
    for place, rate in rates.items():
        macs_per_s = rate * BACKWARD_FACTOR * (result.macs or 0)
        if rate <= 0 or macs_per_s > most:
            yield f"{place}: {rate:,.0f} images/s cannot be ({macs_per_s:.1e} MACs/s on {result.device})"


def _find_copies(folder: Path, digests: list[str]) -> list[str]:
    """Return a line for each run whose predictions are, image by image, those of another run, and no chance."""
    first_by_content: dict[str, str] = {}
    problems = []
    for digest in digests:
        predictions = read_predictions(folder / digest)
        if predictions is None or not _is_distinctive(predictions):
            continue
        content = hashlib.sha256(predictions.predicted.tobytes() + predictions.labels.tobytes()).hexdigest()
        first = first_by_content.setdefault(content, digest)
        if first != digest:
            problems.append(f"{digest}: predicts the same for every test image as {first}")
    return problems


def _is_distinctive(predictions: ImagePredictions) -> bool:
    """Return whether no other network predicts the same by chance: many images and errors, and not one class only."""
    wrong = len(predictions.predicted) - int(predictions.mark_correct().sum())
    is_large = len(predictions.predicted) >= FEWEST_EQUAL and wrong >= FEWEST_WRONG
    return is_large and len(set(predictions.predicted.tolist())) > 1
