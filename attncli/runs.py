"""Finished runs in one form, from the folder of runs and from an MLflow store, and run folders found by name.

    finished_runs = read_finished_runs(RunStore(Path("runs")))
    folder = find_run_folder(Path("runs"), "eca-resnet18-s0")

Reading a folder takes about a millisecond per run. MLflow takes seconds to load, so it is asked only if the store may
hold finished runs that the folder lacks.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attncli import recipe as recipes
from attncli import track
from attncli.errors import UserError, unknown_name_error
from attncli.recipe import Recipe, parse_yaml
from attncli.records import PLAN_TAG, RESULT, Result, recover_test_counts
from attncli.system.callable_module import make_module_callable
from attncli.system.files import path_exists, write_atomically
from attncli.track import RunStore, read_finished_result
from attncli.track.predictions import ImagePredictions, read_predictions
from attncli.track.provenance import ORIGIN_FILE, read_provenance
from attncli.track.tags import format_run_name, name_images

__all__ = [
    "RECIPE",
    "FailedRun",
    "FinishedRun",
    "RunFolder",
    "RunOverview",
    "RunStore",
    "describe_unreadable_runs",
    "find_run_folder",
    "list_run_folders",
    "list_run_overviews",
    "list_untracked_runs",
    "read_failed_runs",
    "read_finished_runs",
    "read_folder_runs",
    "restore_recipe",
]

RECIPE = "recipe.yaml"
NAMED_FOLDERS = 5  # of damaged runs
_OPTION_PREFIX = "model.options."


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run: its recipe, its result, and where it was recorded.

    `dataset` is the recipe's, unless the user says whose images the runs on `folder` used. `folder` is None if only
    MLflow has the run; its result then lacks what MLflow does not keep. `is_imported` is true for a run of a file of
    results: its folder is gone when the command ends. `folder_name` names the user's own images of a recipe that does
    not say any more where they lie. `started_ms` is MLflow's, for a run that only MLflow has. `other_predictions` is
    None unless the result is that of evaluations on other images than the test set: then it holds their predictions.
    """

    recipe: Recipe
    result: Result
    dataset: str
    experiment: str
    folder: Path | None
    is_imported: bool = False
    folder_name: str = ""
    started_ms: int = 0  # since 1970
    other_predictions: Sequence[ImagePredictions] | None = None

    def read_predictions(self) -> ImagePredictions | None:
        """Return the predictions that the result counts, or None if there are none or those of several evaluations."""
        if self.other_predictions is not None:
            return self.other_predictions[0] if len(self.other_predictions) == 1 else None
        return None if self.folder is None else read_predictions(self.folder)

    def find_start_ms(self) -> int:
        """Return when the run began, in milliseconds since 1970, or 0 if nothing says so."""
        provenance = None if self.folder is None else read_provenance(self.folder)
        return self.started_ms if provenance is None else provenance.started_ms

    @property
    def digest(self) -> str:
        """The digest of the recipe, which names the run."""
        return self.result.digest

    @property
    def images(self) -> str:
        """The dataset's name; for the user's own images the name of their folder."""
        if self.dataset != self.recipe.data.name:
            return self.dataset
        return self.folder_name or name_images(self.recipe)

    def is_on(self, name: str | None) -> bool:
        """Return whether the run is on the dataset, or on the user's images, of this name; None is every one."""
        return name in (None, self.dataset, self.images)

    @property
    def reference(self) -> str:
        """MLflow's id of the run, or its digest if it was never in MLflow."""
        return self.result.run_id or self.result.digest


def read_finished_runs(store: RunStore) -> list[FinishedRun]:
    """Return the finished runs of the folder, then those that only the MLflow store has; each digest once.

    Runs that cannot be read, or that another version wrote with unknown keys, are skipped.

    Raises:
        UserError: The store does not answer.
    """
    finished_runs = list(read_folder_runs(store.runs))
    digests = {run.digest for run in finished_runs}
    stored_digests = track.list_finished_digests(store)
    if stored_digests is not None and stored_digests <= digests:
        return finished_runs
    for row in track.list_run_rows(store, status="FINISHED"):
        if row["digest"] not in digests and (run := _convert_mlflow_row(row)) is not None:
            digests.add(run.digest)
            finished_runs.append(run)
    return finished_runs


def list_untracked_runs(store: RunStore, finished_runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    """Return those finished runs that an existing SQLite store lacks, for example as they were deleted in MLflow."""
    by_digest = {run.digest: run for run in finished_runs}
    return [by_digest[digest] for digest in track.list_untracked_digests(store, by_digest)]


def read_folder_runs(runs: Path, *, dataset: str | None = None) -> Iterator[FinishedRun]:
    """Read the finished runs of a folder of runs (on one `dataset`, if given), by digest.

    Runs that cannot be read are skipped.
    """
    for path in sorted(runs.glob(f"*/{RESULT}")):
        result = read_finished_result(path.parent)
        if result is not None and dataset in (None, result.dataset):
            run = _make_folder_run(path.parent, result)
            if run is not None:
                yield run


def describe_unreadable_runs(runs: Path, finished_runs: Iterable[FinishedRun]) -> str | None:
    """Return a line about the folders of finished runs that are not among those that were read, or None."""
    read_names = {run.folder.name if run.folder else run.digest for run in finished_runs}
    folders = sorted({path.parent for name in (RESULT, ORIGIN_FILE) for path in runs.glob(f"*/{name}")})
    unreadable = [folder.name for folder in folders if folder.name not in read_names and _should_be_finished(folder)]
    if not unreadable:
        return None
    names = ", ".join(unreadable[:NAMED_FOLDERS]) + (", ..." if len(unreadable) > NAMED_FOLDERS else "")
    return f"{len(unreadable)} finished runs cannot be read (damaged, or of a newer version): {names}"


def _should_be_finished(folder: Path) -> bool:
    """Return whether a run's origin says that it is finished, or is lost though there is a result."""
    provenance = read_provenance(folder)
    return provenance.status == "FINISHED" if provenance is not None else (folder / RESULT).exists()


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that failed, for example because its loss was no longer finite.

    `data_digest` is the digest of its images, "" if it failed before they were read.
    """

    recipe: Recipe
    digest: str
    group: str
    data_digest: str = ""

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.recipe.seed


def read_failed_runs(runs: Path) -> Iterator[FailedRun]:
    """Read the runs of a folder of runs that failed, by digest; those whose recipe cannot be read are skipped."""
    for path in sorted(runs.glob(f"*/{ORIGIN_FILE}")):
        if (path.parent / RESULT).exists():
            continue
        provenance = read_provenance(path.parent)
        if provenance is None or provenance.current_status() != "FAILED":
            continue
        try:
            recipe = _read_folder_recipe(path.parent)
        except (OSError, ValueError, yaml.YAMLError, UserError):
            continue
        data_digest = provenance.facts.digest if provenance.facts is not None else ""
        yield FailedRun(recipe=recipe, digest=provenance.digest, group=provenance.group, data_digest=data_digest)


def restore_recipe(folder: Path, recipe: Recipe) -> None:
    """Write the recipe of a finished run again if its file is damaged, so that the run is read as finished."""
    try:
        is_whole = _read_folder_recipe(folder).compute_digest() == recipe.compute_digest()
    except (OSError, ValueError, yaml.YAMLError, UserError):
        is_whole = False
    if not is_whole:
        with suppress(OSError):  # of a folder that is only read
            write_atomically(folder / RECIPE, recipe.to_yaml())


def _read_folder_recipe(folder: Path) -> Recipe:
    """Return the recipe in a run's folder. Raises OSError, ValueError, YAMLError or UserError if it is none."""
    return Recipe.model_validate(parse_yaml((folder / RECIPE).read_text(encoding="utf-8")))


def _make_folder_run(folder: Path, result: Result) -> FinishedRun | None:
    try:
        recipe = _read_folder_recipe(folder)
        experiment = track.choose_experiment_name(recipe)
    except (OSError, ValueError, yaml.YAMLError, UserError):
        return None
    return FinishedRun(recipe=recipe, result=result, dataset=recipe.data.name, experiment=experiment, folder=folder)


def _convert_mlflow_row(row: Mapping[str, Any]) -> FinishedRun | None:
    """Return a run of MLflow, or None if its parameters are no recipe of this version."""
    try:
        recipe = _parse_recipe(row["params"])
        machine = json.loads(row["tags"].get("machine") or "{}")
    except (ValueError, UserError):
        return None
    return FinishedRun(
        recipe=recipe,
        result=_convert_metrics(row, recipe, machine),
        dataset=recipe.data.name,
        experiment=row["experiment"],
        folder=None,
        started_ms=row["started_ms"] or 0,
    )


def _parse_recipe(params: Mapping[str, str]) -> Recipe:
    """Return the recipe of MLflow's flat parameters. Raises ValueError or UserError if they are none."""
    tree: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, text in params.items():
        value = _parse_param(text)
        if name.startswith(_OPTION_PREFIX):
            part, _, key = name.removeprefix(_OPTION_PREFIX).rpartition(".")  # a combination has them by part
            (options.setdefault(part, {}) if part else options)[key] = value
        else:
            recipes.set_dotted_key(tree, name, value)
    recipes.set_dotted_key(tree, "model.options", options)
    return Recipe.model_validate(tree)


def _parse_param(text: str) -> Any:
    """Return the value of a parameter: text is written bare, everything else as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _convert_metrics(row: Mapping[str, Any], recipe: Recipe, machine: dict[str, Any]) -> Result:
    metrics, run_tags = row["metrics"], row["tags"]
    started_ms, ended_ms = row["started_ms"], row["ended_ms"]
    result = Result(
        digest=row["digest"],
        run_id=row["run_id"],
        status="FINISHED",
        attn=row["attn"],
        backbone=row["backbone"],
        dataset=row["dataset"],
        category=row["category"],
        seed=recipe.seed,
        epochs=recipe.train.epochs,
        test_top1=_read_accuracy(metrics, "test/top1"),
        test_top5=_read_accuracy(metrics, "test/top5"),
        test_loss=metrics.get("test/loss"),
        test_macro_f1=_read_accuracy(metrics, "test/macro_f1"),
        val_top1=metrics.get("val/top1"),
        best_val_top1=None,
        baseline=recipe.model.backbone_label,
        params=_read_count(metrics, "params"),
        baseline_params=_read_baseline_count(metrics, "params"),
        macs=_read_count(metrics, "macs"),
        baseline_macs=_read_baseline_count(metrics, "macs"),
        train_images_per_s=metrics.get("speed/train_images_per_s"),
        infer_images_per_s=metrics.get("speed/infer_images_per_s"),
        train_ratio=metrics.get("speed/train_ratio"),
        infer_ratio=metrics.get("speed/infer_ratio"),
        seconds=(ended_ms - started_ms) / 1000 if started_ms and ended_ms else 0.0,
        precision=run_tags.get("precision") or recipe.train.precision,
        device=run_tags.get("device") or "",
        machine=machine,
        group=row["group"],
        data_digest=row["data_digest"],
        folder="",
        planned_seeds=_read_plan(run_tags),
        code=run_tags.get("code"),
    )
    return recover_test_counts(result, int(metrics.get("test/images", 0)))


def _read_accuracy(metrics: Mapping[str, float], name: str) -> float | None:
    """Return an accuracy, or None if there is none or it is not a number, as an import from elsewhere may have it."""
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def _read_plan(run_tags: Mapping[str, str]) -> int | None:
    text = run_tags.get(PLAN_TAG, "")
    return int(text) if text.isdigit() else None


def _read_count(metrics: Mapping[str, float], name: str) -> int | None:
    value = metrics.get(f"cost/{name}")
    return None if value is None else int(value)


def _read_baseline_count(metrics: Mapping[str, float], name: str) -> int | None:
    value, added = metrics.get(f"cost/{name}"), metrics.get(f"overhead/{name}")
    return None if value is None or added is None else int(value - added)


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

    MLflow, which takes seconds to load, is asked only if the store may have finished runs that the folder lacks.

    Raises:
        UserError: The store does not answer.
    """
    overviews = list(_list_folder_overviews(store.runs))
    digests = {overview.digest for overview in overviews}
    stored_digests = track.list_finished_digests(store)
    if stored_digests is None or not stored_digests <= digests:
        overviews += [
            _convert_row_to_overview(row) for row in track.list_run_rows(store) if row["digest"] not in digests
        ]
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
            recipe = _read_folder_recipe(folder)
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


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, runs/<digest>, and the run's name, such as eca-resnet18-s0."""

    path: Path
    name: str


def list_run_folders(runs: Path) -> Iterator[RunFolder]:
    """Return the run folders of a folder of runs, the latest first; those without a readable recipe are skipped."""
    recipe_paths = sorted(runs.glob(f"*/{RECIPE}"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in recipe_paths:
        try:
            yield RunFolder(path.parent, format_run_name(recipes.read(path)))
        except UserError:
            continue


def find_run_folder(runs: Path, word: str, notify: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a run, given its path, the beginning of its digest, or its name.

    If several runs have the name, finished ones go first, and of those the latest.

    Args:
        runs: The folder of runs.
        word: The path, digest or name.
        notify: Called with a line about the others if several runs have the name.

    Raises:
        UserError: No run has this name, or several digests begin with it.
    """
    if not word.strip():
        raise UserError("run: the name is empty", "`attncli ls runs` lists them")
    run_path = Path(word)
    if path_exists(run_path / RECIPE):
        return run_path
    run_folders = list(list_run_folders(runs))
    digest_matches = [f.path for f in run_folders if f.path.name.startswith(word)]
    if len(digest_matches) > 1:
        names = ", ".join(p.name for p in digest_matches[:5])
        raise UserError(f"run '{word}': {len(digest_matches)} digests begin with it ({names})", "give more digits")
    name_matches = [f.path for f in run_folders if f.name == word]
    finished_matches = [p for p in name_matches if read_finished_result(p) is not None]
    chosen = [*digest_matches, *finished_matches, *name_matches][:1]
    if not digest_matches and len(name_matches) > 1 and notify is not None:
        others = ", ".join(path.name for path in name_matches if path not in chosen)
        notify(f"{len(name_matches)} runs have the name {word}: {chosen[0].name}, the latest; the others are {others}")
    if chosen:
        return chosen[0]
    if not run_folders:
        raise UserError(f"no runs in {runs}", "`attncli run` makes one, --runs names another folder")
    raise unknown_name_error("run", word, [f.name for f in run_folders])


def locate_pretrained_run(runs: Path, word: str, notify: Callable[[str], None] | None = None) -> str:
    """Return the folder of the run that a text of model.pretrained names; the path of a file as it is.

    Args:
        runs: The folder of runs.
        word: The path of a file or folder, or the name or digest of a run.
        notify: Called with a line about the others if several runs have the name.

    Raises:
        UserError: It is no path, and no run has this name.
    """
    is_file = "/" in word or Path(word).suffix or path_exists(Path(word))
    return word if is_file else str(find_run_folder(runs, word, notify))


make_module_callable(__name__, "attncli.api:list_runs")
