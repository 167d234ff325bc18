"""Results that travel: finished runs with their provenance and predictions in one small file.

The file is a ZIP archive: RESULTS_INFO, and for each run its folder with TRAVELLING_FILES, without weights and images.
RESULTS_INFO also names the runs that failed beside those of the file, as a variant with a failed seed is not judged.
Where the images of a run lay, and the name of its machine, stay behind: a run on the user's own images gets the digest
that its recipe has without `data.root` (`attncli.portable_runs`), and the digest of its images says which they were.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attncli import __version__
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.portable_runs import drop_image_paths, forget_failed_root, has_own_cut, pin_images
from attncli.quantities import format_quantity
from attncli.recipe import Recipe, format_yaml, is_default_late_key, parse_yaml
from attncli.records import LOG, RESULT
from attncli.runs import RECIPE, FailedRun, FinishedRun, find_unreadable_runs, read_folder_runs
from attncli.system.files import write_atomically, written_aside
from attncli.track.predictions import PREDICTIONS_FILE
from attncli.track.provenance import ORIGIN_FILE, read_provenance

RESULTS_INFO = "results.json"
FORMAT = 1
# Keys that are no part of a recipe's identity and that version 0.1.0 does not know, with their default
OTHER_LATE_DEFAULTS = {"measure.check_memory": True, "planned_seeds": None}
TRAVELLING_FILES = (RECIPE, RESULT, ORIGIN_FILE, LOG, PREDICTIONS_FILE)
_MEMBER = re.compile(rf"([0-9a-f]{{12}})/({'|'.join(map(re.escape, TRAVELLING_FILES))})")


def export_results(
    runs: Sequence[FinishedRun],
    path: Path,
    *,
    failures: Sequence[FailedRun] = (),
    folder_is: str | None = None,
    left_out: int = 0,
) -> int:
    """Write finished runs to a file; return how many. Runs without a folder, which only MLflow has, are left out.

    Args:
        runs: The runs. Of two that differ in the path of the same images alone, the first is written.
        path: The file; its folder is made.
        failures: Runs that failed. Those that differ from one of `runs` in their seed or fold alone are written too.
        folder_is: The dataset whose images the runs on `folder` used; it is what readers of the file see.
        left_out: How many variants of the same baselines the file does not have; readers of the file are told.

    Raises:
        UserError: There is no run to write, readers could not tell the images of two folders apart, or the file cannot
            be written.
    """
    travelling_runs = _choose_travelling_runs(runs, folder_is)
    if not travelling_runs:
        raise UserError("no finished runs to export", "`attncli ls runs` lists them")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            written_aside(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        ):
            info = {
                "format": FORMAT, "attncli": __version__, "runs": list(travelling_runs), "folder_is": folder_is,
                "failed": _describe_failures(failures, {run.result.group for run in travelling_runs.values()}),
                "left_out": left_out,
            }  # fmt: skip
            archive.writestr(RESULTS_INFO, json.dumps(info))
            for digest, run in travelling_runs.items():
                for name, content in _collect_travelling_files(run).items():
                    archive.writestr(f"{digest}/{name}", content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give a file that can be written") from error
    return len(travelling_runs)


def _choose_travelling_runs(runs: Iterable[FinishedRun], folder_is: str | None) -> dict[str, FinishedRun]:
    """Return the runs that have a folder as they are anywhere, by their digest there.

    Of two that differ in the path of the images alone, the first is returned. If the images are others too, the second
    gets a digest that counts them.

    Raises UserError if readers could not tell such images apart: they would have one name, or are cut by seed or fold.
    """
    travelling_runs: dict[str, FinishedRun] = {}
    for run in map(drop_image_paths, (run for run in runs if run.folder is not None)):
        twin = travelling_runs.get(run.digest, run)
        if twin.result.data_digest != run.result.data_digest:
            if folder_is is not None or has_own_cut(run.recipe):
                problem = "there are runs of one recipe on the images of several folders"
                raise UserError(problem, "--dataset NAME exports those of the folder NAME")
            run = pin_images(run)
        travelling_runs.setdefault(run.digest, run)
    return travelling_runs


def describe_left_out(count: int) -> str:
    """Return what a reader must know of results from which so many variants were left out."""
    variants = format_quantity(count, "further variant")
    return f"{variants} of the same baseline left out; intervals and p values do not count them"


def _describe_failures(failures: Sequence[FailedRun], groups: Set[str]) -> list[dict[str, Any]]:
    """Return the failed runs of these groups as plain values."""
    portable = [forget_failed_root(failure) for failure in failures]
    return [
        {
            "digest": f.digest,
            "group": f.group,
            "data_digest": f.data_digest,
            "precision": f.precision,
            "device": f.device,
            "machine": dict(f.machine),
            "code": f.code,
            "recipe": parse_yaml(format_portable_recipe(f.recipe)),
        }
        for f in portable
        if f.group in groups
    ]


def read_failures_of_results(paths: Sequence[Path], notify: Callable[[str], None] = lambda _: None) -> list[FailedRun]:
    """Return the failed runs that files of `export_results` name; files of earlier versions name none.

    Args:
        paths: The files, which `imported_results` has read before.
        notify: Called with a line about each file that names failed runs which cannot be read.
    """
    failures = []
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            entries = json.loads(archive.read(RESULTS_INFO)).get("failed", [])
        try:
            failures += [_parse_failure(entry) for entry in entries]
        except (KeyError, TypeError, ValueError):
            notify(f"{path}: its failed runs cannot be read, so that variants seem complete; ask for the file again")
    return failures


def _parse_failure(entry: Mapping[str, Any]) -> FailedRun:
    return FailedRun(
        recipe=Recipe.model_validate(entry["recipe"]),
        **{name: str(entry[name]) for name in ("digest", "group", "data_digest")},
        **{name: str(entry.get(name, "")) for name in ("precision", "device", "code")},  # earlier versions do not say
        machine=dict(entry.get("machine", {})),
    )


def _collect_travelling_files(run: FinishedRun) -> dict[str, str | bytes]:
    """Return the content of each file of a portable run, without paths and the name of the machine."""
    if run.folder is None:
        return {}
    result, provenance = replace(run.result, folder=""), read_provenance(run.folder)
    contents: dict[str, str | bytes] = {
        RECIPE: format_portable_recipe(run.recipe),
        RESULT: json.dumps(asdict(result)),
    }
    if provenance is not None:
        facts = None if provenance.facts is None else replace(provenance.facts, source="")  # it may be a path
        origin = replace(
            provenance,
            digest=result.digest,
            group=result.group,
            facts=facts,
            process=replace(provenance.process, host=""),
        )
        contents[ORIGIN_FILE] = json.dumps(asdict(origin))
    for name in (LOG, PREDICTIONS_FILE):
        if (run.folder / name).exists():
            contents[name] = (run.folder / name).read_bytes()
    return contents


def format_portable_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML without the keys that were added since version 0.1.0 and have their default value.

    An earlier version refuses a recipe with a key that it does not know, also one that changes nothing. The path of the
    images stays behind, that of published ones too: it is no part of their digest.
    """
    tree = recipe.model_dump(mode="json")
    tree["data"]["root"] = None
    for name, section in list(tree.items()):
        if isinstance(section, dict):
            tree[name] = {key: value for key, value in section.items() if not _is_default_late(f"{name}.{key}", value)}
        elif _is_default_late(name, section):
            del tree[name]
    return format_yaml(tree)


def _is_default_late(key: str, value: Any) -> bool:
    return is_default_late_key(key, value) or (key in OTHER_LATE_DEFAULTS and value == OTHER_LATE_DEFAULTS[key])


@contextmanager
def imported_results(
    paths: Sequence[Path], notify: Callable[[str], None] = lambda _: None
) -> Iterator[list[FinishedRun]]:
    """Give the finished runs of files that `export_results` wrote; their folders last as long as the context.

    Args:
        paths: The files.
        notify: Called with a line about the runs of a file that cannot be read, if there are others that can, and
            about a file that has some variants of its tables only.

    Raises:
        UserError: A file or all of its runs cannot be read, or it was not written by `export_results`.
    """
    with TemporaryDirectory(prefix="attncli-results-") as folder:
        runs: list[FinishedRun] = []
        for number, path in enumerate(paths):
            target = Path(folder) / str(number)
            info = extract_results(path, target)
            folder_is, left_out = info.get("folder_is"), info.get("left_out")
            if isinstance(left_out, int) and left_out > 0:
                notify(f"{path}: {describe_left_out(left_out)}")
            file_runs = list(read_folder_runs(target))
            for error in find_unreadable_runs(target, file_runs, "ask for the file again"):
                if not file_runs:
                    raise UserError(f"{path}: {error.problem}", error.hint)
                notify(f"{path}: {error.problem}; {error.hint}")
            for run in map(drop_image_paths, file_runs):
                is_folder = has_origin(run.dataset, "user")
                dataset = folder_is if is_folder and isinstance(folder_is, str) else run.dataset
                runs.append(replace(run, dataset=dataset, is_imported=True))
        yield runs


def extract_results(path: Path, target: Path) -> Mapping[str, Any]:
    """Extract the files of runs, and no others, below `target`; return the content of RESULTS_INFO.

    Raises UserError if the file cannot be read, was not written by `export_results`, or by a later version.
    """
    hint = "give a file of `attncli results export`"
    try:
        with zipfile.ZipFile(path) as archive:
            info = json.loads(archive.read(RESULTS_INFO))
            if info["format"] > FORMAT:
                raise UserError(f"{path}: written by attncli {info['attncli']}", "use that version or a later one")
            if not isinstance(info["runs"], list):
                raise ValueError("no list of runs")
            for name in archive.namelist():
                if member := _MEMBER.fullmatch(name):
                    (target / member[1]).mkdir(parents=True, exist_ok=True)
                    write_atomically(target / member[1] / member[2], archive.read(name))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", hint) from error
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: not a file of results", hint) from error
    return dict(info)


def summarize_results(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """Return what runs are of, for a list of files: their numbers, networks, epochs, precision and machines."""
    results = [run.result for run in runs]
    return {
        "runs": len(runs),
        "dataset": _join_names(run.dataset for run in runs),
        "backbone": _join_names(result.backbone for result in results),
        "mechanisms": len({result.attn for result in results}),
        "seeds": len({result.seed for result in results}),
        "epochs": _join_names(result.epochs for result in results),
        "precision": _join_names(result.precision for result in results),
        "machine": _join_names(result.machine.get("gpu") or result.machine.get("cpu") for result in results),
        "torch": _join_names(result.machine.get("torch") for result in results),
    }


def _join_names(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))
