"""Whatever comes from outside is taken or refused in one line: garbage never ends in another error."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

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
from tests.garbage import WORDS, damage_json, damage_text, damage_tree, try_each, values, words
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


def make_yaml_files(text: str) -> st.SearchStrategy[bytes]:
    """A damaged file, as text or as the YAML of a damaged tree."""
    trees = damage_tree(yaml.safe_load(text))
    return damage_text(text) | trees.map(
        lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace")
    )


@st.composite
def make_overrides(draw: st.DrawFn) -> list[str]:
    """Some values for --set: real keys with garbage, and garbage."""
    keys = [
        f"{section}.{key}" for section, keys in yaml.safe_load(RECIPE).items() if isinstance(keys, dict) for key in keys
    ]
    keys += ["model.options.k", "model.attn", "data.classes", "data.root", "model.stages", "seed", "experiment", "data"]
    names = st.sampled_from(keys) | words
    contents = words | values.map(lambda value: json.dumps(value, default=str))
    return draw(
        st.lists(st.tuples(names, st.sampled_from(("=", "=", "=", "")), contents).map("".join), min_size=1, max_size=3)
    )


printable_words = st.sampled_from([word for word in WORDS if "\x00" not in word and "\ud800" not in word])
addresses = st.tuples(st.sampled_from(ADDRESSES), words).map("".join)
environments = st.dictionaries(
    st.sampled_from(VARIABLES),
    st.sampled_from(("0", "1", "2", "127.0.0.1"))
    | st.tuples(st.sampled_from(("", *ADDRESSES)), printable_words).map("".join),
    min_size=1,
    max_size=5,
)


COMMANDS = (
    "check {}", "sweep {} --dry-run", "show {}", "recipe show {}", "help {}", "data ls {}", "ls {}", "{}",
    "check --attn {}", "check --backbone {}", "check --set {}", "check --seed {}", "ls runs --runs {}",
    "compare --no-plot --runs {}", "look {}", "run {}=1", "check --dataset folder --data-root {}", "claims {}",
    "published {}", "run --{}",
)  # fmt: skip


@st.composite
def make_lines(draw: st.DrawFn) -> list[str]:
    """The words of a command line, one of them garbage."""
    garbage = draw(printable_words | st.just("\udce9") | st.tuples(printable_words, printable_words).map("".join))
    return [word.replace("{}", garbage) for word in draw(st.sampled_from(COMMANDS)).split()]


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
    sweeps = st.sampled_from(SWEEPS).flatmap(make_yaml_files)
    return {
        "recipe": (make_yaml_files(RECIPE), use_file(validation.read, "recipe.yaml")),
        "--set": (make_overrides(), lambda items: validation.read(None, items)),
        "sweep": (sweeps, use_file(lambda path: plan_sweep(path, runs=runs), "sweep.yaml")),
        "environment": (environments, use_environment),
        "result": (damage_json(result), use_result),
        "records": (damage_text(log), use_log),
        "origin": (damage_json(origin), use_origin),
        "speeds": (damage_json(speed), use_speeds),
        "words": (make_lines(), use_words),
        "claims": (damage_text(CLAIMS), use_file(lambda path: read_claim_files([path]), "claims.yaml")),
        "plug-in": (damage_text(PLUGIN), use_file(lambda path: attention.describe_mechanism(str(path)), "mine.py")),
        "address": (addresses, lambda text: RunStore(runs, text).has_store()),
    }


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
    assert set(entries) == set(ENTRIES)
    try_each(*entries[entry], SHORT, UserError)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_ten_thousand_tries(entries, entry):
    """The same ten thousand times."""
    try_each(*entries[entry], LONG, UserError)
