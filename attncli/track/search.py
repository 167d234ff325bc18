"""Read the store's runs as plain dicts, and close runs whose process died."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.track import database, store
from attncli.track.provenance import ProcessIdentity
from attncli.track.store import RunStore
from attncli.track.store_errors import translated_store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_SIZE = 1000
FINISHED_DIGESTS = """
    SELECT tags.value FROM runs JOIN tags USING (run_uuid) JOIN experiments USING (experiment_id)
    WHERE tags.key = 'digest' AND runs.status = 'FINISHED'
    AND runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
"""
RunRow = dict[str, Any]


def list_run_rows(run_store: RunStore, **filters: str | None) -> list[RunRow]:
    """Return the runs of the store, newest first, each a dict of plain values.

    Keys: run_id, name, experiment, status, started_ms, ended_ms, params, metrics (last values), tags, and from
    the tags attn, backbone, dataset, category, digest, group, data_digest (text) and seed (a number); for lists
    also epochs (as the recipe says) and test_top1, or None if there is none.
    `filters` maps tags, and `status`, to the wanted value; None filters nothing.
    Raises UserError for a store that does not answer. A database that does not exist has no runs.
    """
    address = run_store.resolve_address()
    file = database.find_database_file(address)
    if file is not None and not file.exists():
        return []
    client = store.connect_store(run_store)
    with translated_store_errors(address):
        return list(_iterate_rows(client, {key: value for key, value in filters.items() if value is not None}))


def list_finished_digests(run_store: RunStore) -> frozenset[str] | None:
    """Return the digests of the finished runs of an SQLite store, in milliseconds and without loading MLflow.

    None means that only MLflow can say: the store is no SQLite file, or its tables are not those of today's MLflow.
    """
    file = database.find_database_file(run_store.resolve_address())
    if file is None:
        return None
    if not file.exists():
        return frozenset()
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            return frozenset(digest for (digest,) in connection.execute(FINISHED_DIGESTS))
    except sqlite3.Error:
        return None


def list_untracked_digests(run_store: RunStore, digests: Iterable[str]) -> list[str]:
    """Return those digests of finished runs that an existing SQLite store lacks, or knows as not finished."""
    stored_digests = list_finished_digests(run_store) if run_store.has_store() else None
    return [] if stored_digests is None else [digest for digest in digests if digest not in stored_digests]


def _iterate_rows(client: "MlflowClient", filters: Mapping[str, str]) -> Iterator[RunRow]:
    names = {experiment.experiment_id: experiment.name for experiment in client.search_experiments(max_results=50_000)}
    for run in iterate_runs(client, list(names), filters):
        yield _build_row(run, names[run.info.experiment_id])


def iterate_runs(client: "MlflowClient", experiments: list[str], filters: Mapping[str, str]) -> Iterator["Run"]:
    """Yield the runs attncli recorded (those with a digest), page after page, newest first.

    MLflow's conditions take no text with both kinds of quotation marks: such a value is compared here.
    """
    compared_here = {key: value for key, value in filters.items() if {"'", '"'} <= set(value)}
    compared_there = {key: value for key, value in filters.items() if key not in compared_here}
    conditions = ["tags.digest LIKE '%'", *(_format_condition(key, value) for key, value in compared_there.items())]
    token = None
    while True:
        page = client.search_runs(
            experiments,
            " and ".join(conditions),
            order_by=["attributes.start_time DESC"],
            max_results=PAGE_SIZE,
            page_token=token,
        )
        yield from (run for run in page if compared_here.items() <= run.data.tags.items())
        token = page.token
        if not token:
            return


def _format_condition(key: str, value: str) -> str:
    quote = '"' if "'" in value else "'"
    name = "attributes.status" if key == "status" else f"tags.`{key}`"
    return f"{name} = {quote}{value}{quote}"


def _build_row(run: "Run", experiment: str) -> RunRow:
    tags = run.data.tags
    seed, epochs = tags.get("seed", ""), run.data.params.get("train.epochs", "")
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "experiment": experiment,
        "status": run.info.status,
        "started_ms": run.info.start_time,
        "ended_ms": run.info.end_time,
        **{k: tags.get(k, "") for k in ("attn", "backbone", "dataset", "category", "digest", "group", "data_digest")},
        "seed": int(seed) if seed.isdigit() else None,
        "epochs": int(epochs) if epochs.isdigit() else None,
        "test_top1": run.data.metrics.get("test/top1"),
        "params": dict(run.data.params),
        "metrics": dict(run.data.metrics),
        "tags": dict(tags),
    }


def close_dead_runs(client: "MlflowClient", runs: Path) -> list[str]:
    """Close as KILLED the runs that are RUNNING though their process, on this host, is gone. Return their names.

    Their end is the time of the last write in runs/<digest>/.
    """
    closed_names = []
    experiments = [experiment.experiment_id for experiment in client.search_experiments(max_results=50_000)]
    sweep_runs = client.search_runs(experiments, "tags.kind = 'sweep' and attributes.status = 'RUNNING'")
    for run in [*iterate_runs(client, experiments, {"status": "RUNNING"}), *sweep_runs]:
        process = _parse_process(run.data.tags)
        if process is not None and process.is_dead():
            digest = run.data.tags.get("digest")
            end_ms = find_last_write_ms(runs / digest) if digest else None
            client.set_terminated(run.info.run_id, "KILLED", end_time=end_ms)
            closed_names.append(str(run.info.run_name))
    return closed_names


def find_last_write_ms(folder: Path) -> int | None:
    """Return when a file of the folder was last written, in milliseconds since 1970, or None without such files."""
    times = [path.stat().st_mtime_ns // 1_000_000 for path in folder.glob("*") if path.is_file()]
    return max(times, default=None)


def _parse_process(tags: Mapping[str, str]) -> ProcessIdentity | None:
    try:
        return ProcessIdentity(host=tags["host"], pid=int(tags["pid"]), started=float(tags["pid.started"]))
    except (KeyError, ValueError):
        return None
