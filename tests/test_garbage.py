"""Whatever comes from outside is taken or refused in one line: garbage made with a seed never ends in another error."""

import json
from pathlib import Path

import pytest
import yaml

from attncli import attention, data, records, validation
from attncli.analysis.compare import compare_variants
from attncli.analysis.count_cache import CountCache
from attncli.claims.claim_files import read_claim_files
from attncli.errors import UserError
from attncli.jobs import resources
from attncli.jobs.plan import plan_sweep
from attncli.measure.speed_cache import read_speed_entries
from attncli.report.comparison import render_comparison
from attncli.runs import RunStore, list_run_folders, read_folder_runs
from attncli.system.launcher import read_process_rank
from attncli.track.metrics import collect_run_metrics
from attncli.track.provenance import read_provenance
from tests.claims.case import run as make_run
from tests.commands.line import line
from tests.garbage import WORDS, Garbage, find_crashes
from tests.shared import ROOT
from tests.track.recorded_runs import WHOLE

SHORT, LONG = 40, 10_000
RECIPE = (ROOT / "recipes" / "cifar10-resnet20.yaml").read_text(encoding="utf-8")
SWEEPS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "recipes" / "sweeps").glob("*.yaml"))]
CLAIMS = """- id: mine
  kind: accuracy
  text: eca beats the plain network
  source: own
  check: top1(resnet20 + eca) > top1(resnet20)
"""
PLUGIN = (Path(attention.__file__).parent / "channel" / "eca.py").read_text(encoding="utf-8")
VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK", "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES", "ATTNCLI_DATA", "ATTNCLI_COUNTS", "MLFLOW_TRACKING_URI", "SLURM_NTASKS",
)  # fmt: skip
ADDRESSES = (
    "http://",
    "http://[",
    "sqlite:///",
    "postgresql://u:p@h/x",
    "databricks://",
    "mssql+pyodbc://",
    "file:///x",
    "",
)


def make_recipe_file(draws: Garbage) -> bytes:
    """A damaged recipe, as text or as the YAML of a damaged tree."""
    if draws.random() < 0.5:
        return draws.damage_text(RECIPE)
    return yaml.safe_dump(draws.damage_tree(yaml.safe_load(RECIPE)), allow_unicode=True).encode("utf-8", "replace")


def make_sweep_file(draws: Garbage) -> bytes:
    """A damaged sweep file."""
    text = draws.choice(SWEEPS)
    if draws.random() < 0.5:
        return draws.damage_text(text)
    return yaml.safe_dump(draws.damage_tree(yaml.safe_load(text)), allow_unicode=True).encode("utf-8", "replace")


def make_overrides(draws: Garbage) -> list[str]:
    """Some values for --set: real keys with garbage, and garbage."""
    keys = [
        f"{section}.{key}" for section, keys in yaml.safe_load(RECIPE).items() if isinstance(keys, dict) for key in keys
    ]
    keys += ["model.options.k", "model.attn", "data.classes", "data.root", "model.stages", "seed", "experiment", "data"]
    return [
        draws.choice((draws.choice(keys), draws.choice(WORDS)))
        + draws.choice(("=", "=", "=", ""))
        + draws.choice((draws.choice(WORDS), json.dumps(draws.value(), default=str)))
        for _ in range(draws.randrange(1, 4))
    ]


def make_environment(draws: Garbage) -> dict[str, str]:
    """Some variables, each with garbage."""
    values = [word for word in WORDS if "\x00" not in word and "\ud800" not in word]
    chosen = draws.sample(VARIABLES, draws.randrange(1, 6))
    return {
        name: draws.choice(
            ("0", "1", "2", "127.0.0.1", draws.choice(values), draws.choice(ADDRESSES) + draws.choice(values))
        )
        for name in chosen
    }


COMMANDS = (
    "check {}", "sweep {} --dry-run", "show {}", "recipe show {}", "help {}", "data ls {}", "ls {}", "{}",
    "check --attn {}", "check --backbone {}", "check --set {}", "check --seed {}", "ls runs --runs {}",
    "compare --no-plot --runs {}", "look {}", "run {}=1", "check --dataset folder --data-root {}", "claims {}",
    "published {}", "run --{}",
)  # fmt: skip


def make_words(draws: Garbage) -> list[str]:
    """The words of a command line, one of them garbage."""
    words = [word for word in WORDS if "\x00" not in word and "\ud800" not in word]
    garbage = draws.choice((*words, "\udce9", *(draws.choice(words) + draws.choice(words),)))
    return [word.replace("{}", garbage) for word in draws.choice(COMMANDS).split()]


def use_words(words: list[str]) -> None:
    """Run a command line; the exit code of a bug is an error."""
    done = line(*words)
    if done.code == 3:
        raise RuntimeError(" ".join(done.err.splitlines()[-6:]))


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """Every entry by name: how its garbage is made, and how it is used."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    make_run(runs, attn="none", seed=0, top1=0.5)
    finished = next(path.parent for path in runs.glob("*/result.json"))
    result = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    origin_file = finished / "origin.json"
    log = "".join(records.format_record(record) + "\n" for record in WHOLE)

    def use_file(use, name):
        path = tmp_path / name

        def write_and_use(content: bytes) -> None:
            path.write_bytes(content)
            use(path)

        return write_and_use

    def use_environment(environment: dict[str, str]) -> None:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            resources.list_gpus.cache_clear()
            resources.threads_per_job(2)
            resources.choose_job_count()
            for entry in (read_process_rank, data.find_default_root, CountCache, RunStore(runs).has_store):
                try:
                    entry()
                except UserError:
                    continue

    def use_result(content: bytes) -> None:
        (finished / "result.json").write_bytes(content)
        finished_runs = list(read_folder_runs(runs))
        list(list_run_folders(runs))
        for format_ in ("table", "json", "csv"):
            render_comparison(compare_variants(finished_runs, margin=0.005), format_)

    def use_log(content: bytes) -> None:
        (finished / "log.jsonl").write_bytes(content)
        collect_run_metrics(records.read(finished), 0)

    def use_origin(content: bytes) -> None:
        origin_file.write_bytes(content)
        if (provenance := read_provenance(finished)) is not None:
            provenance.current_status()

    def use_speeds(content: bytes) -> None:
        (runs / "speeds.json").write_bytes(content)
        read_speed_entries(runs / "speeds.json")
        plan_sweep(ROOT / "recipes" / "sweeps" / "eca-kernel.yaml", runs=runs)

    origin = {
        "digest": "0123456789ab", "group": "x", "started_ms": 1, "version": "0", "commit": None, "dirty": False,
        "facts": {
            "name": "d", "digest": "d", "source": "s", "classes": ["a"], "size": [8, 8], "frames": None, "train": 1,
            "val": 0, "test": 1,
        },
        "process": {"host": "h", "pid": 1, "started": 0.0}, "machine": {}, "status": "FINISHED", "ended_ms": 2,
    }  # fmt: skip
    speed = {"x": {"of": {"backbone": "resnet20"}} | json.loads(records.format_record(WHOLE[-1]))}
    return {
        "recipe": (make_recipe_file, use_file(validation.read, "recipe.yaml")),
        "--set": (make_overrides, lambda items: validation.read(None, items)),
        "sweep": (make_sweep_file, use_file(lambda path: plan_sweep(path, runs=runs), "sweep.yaml")),
        "environment": (make_environment, use_environment),
        "result": (lambda draws: draws.json_bytes(result), use_result),
        "records": (lambda draws: draws.damage_text(log), use_log),
        "origin": (lambda draws: draws.json_bytes(origin), use_origin),
        "speeds": (lambda draws: draws.json_bytes(speed), use_speeds),
        "words": (make_words, use_words),
        "claims": (lambda draws: draws.damage_text(CLAIMS), use_file(lambda p: read_claim_files([p]), "claims.yaml")),
        "plug-in": (
            lambda draws: draws.damage_text(PLUGIN),
            use_file(lambda path: attention.describe_mechanism(str(path)), "mine.py"),
        ),
        "address": (
            lambda draws: draws.choice(ADDRESSES) + draws.choice(WORDS), lambda text: RunStore(runs, text).has_store(),
        ),
    }  # fmt: skip


ENTRIES = (
    "recipe",
    "--set",
    "sweep",
    "environment",
    "result",
    "records",
    "origin",
    "speeds",
    "claims",
    "plug-in",
    "address",
    "words",
)


@pytest.mark.parametrize("entry", ENTRIES)
def test_garbage_is_taken_or_refused(entries, entry):
    """A few tries of each entry."""
    make, use = entries[entry]
    assert find_crashes(1, SHORT, make, use, UserError) == []


@pytest.mark.slow
def test_ten_thousand_tries(entries):
    """The same ten thousand times, shared among the entries."""
    assert set(entries) == set(ENTRIES)
    for seed, entry in enumerate(ENTRIES):
        assert find_crashes(100 + seed, LONG // len(ENTRIES) + 1, *entries[entry], UserError) == [], entry
