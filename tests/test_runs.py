"""Finished runs from folders and from MLflow: the same runs, each once; and run folders found by name."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from attncli import recipe as recipes
from attncli import track
from attncli.analysis.run_filter import read_run_filter
from attncli.api import compare, list_runs
from attncli.errors import UserError
from attncli.runs import (
    RunStore,
    find_run_folder,
    find_unreadable_runs,
    list_run_overviews,
    list_untracked_runs,
    locate_pretrained_run,
    mlflow_rows,
    read_failed_runs,
    read_finished_runs,
    restore_recipe,
)
from attncli.runs.unreadable import UnreadableRun, explain_unreadable_runs
from attncli.track.provenance import (
    ORIGIN_FILE,
    ProcessIdentity,
    Provenance,
    begin_provenance,
    end_provenance,
    write_provenance,
)
from attncli.track.tags import flatten_params
from tests.claims.case import run
from tests.commands.line import line
from tests.earlier_versions.test_runs_stay_readable import unpack_earlier_runs

ONLY_IN_STORE, ONLY_IN_FOLDER = "0cf8ffe1cebb", "4f2bbaa116ff"  # two finished runs of the archive


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Return a folder with seven finished runs in an MLflow store, one of them without a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = unpack_earlier_runs(tmp_path)
    shutil.rmtree(runs / ONLY_IN_STORE)
    return runs


def forget_run(store, digest):
    """Delete a run from the MLflow store, as a user does in the dashboard."""
    with closing(sqlite3.connect(store)) as database, database as connection:
        connection.execute(
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid IN"
            " (SELECT run_uuid FROM tags WHERE key = 'digest' AND value = ?)",
            [digest],
        )


def test_a_folder_is_read(tmp_path):
    """Recipe, result and where they are from."""
    recipe = run(tmp_path, attn="eca", seed=3, top1=0.5, model__options={"k": 3})
    (only,) = read_finished_runs(RunStore(tmp_path))
    assert only.recipe == recipe
    assert (only.digest, only.reference, only.result.test_top1) == (recipe.compute_digest(), "id-eca-3", 0.5)
    assert (only.folder, only.experiment) == (tmp_path / recipe.compute_digest(), "digits-resnet20")


def test_broken_folders_are_skipped(tmp_path):
    """A result without its recipe, half a result, a recipe of another version."""
    for seed, (name, text) in enumerate([("recipe.yaml", "seed: x"), ("result.json", "{"), ("recipe.yaml", "[")]):
        recipe = run(tmp_path, attn="eca", seed=seed, top1=0.5)
        (tmp_path / recipe.compute_digest() / name).write_text(text)
    assert read_finished_runs(RunStore(tmp_path)) == []
    (error,) = find_unreadable_runs(tmp_path, [])
    assert error.problem.startswith("3 finished runs cannot be read")
    assert find_unreadable_runs(tmp_path / "none", []) == []


def test_runs_of_a_newer_version_are_told_from_damaged_ones(tmp_path):
    """Those whose recipe has keys that are unknown here: the error names the keys, and says to update."""
    for seed, text in enumerate(["newer: 1\n", "seed: x\n", ""]):
        file = tmp_path / run(tmp_path, attn="eca", seed=seed, top1=0.5).compute_digest() / "recipe.yaml"
        file.write_text(
            file.read_text().replace("data:\n", "data:\n  newest: null\n" if seed == 0 else "data:\n") + text
        )
    newer, damaged = find_unreadable_runs(tmp_path, read_finished_runs(RunStore(tmp_path)))
    assert newer.problem.startswith("1 finished run ")
    assert newer.problem.endswith("data.newest, newer")
    assert newer.hint == "update attncli"
    assert damaged.problem.startswith("1 finished run ")


def test_a_damaged_recipe_of_a_finished_run_is_written_again(tmp_path):
    """The recipe is known when the same command is called: the run is then read as finished; a whole one stays."""
    recipe = run(tmp_path, attn="eca", seed=0, top1=0.5)
    file = tmp_path / recipe.compute_digest() / "recipe.yaml"
    for text, is_kept in (("a: [", False), (file.read_text() + "# mine\n", True)):
        file.write_text(text)
        restore_recipe(file.parent, recipe)
        assert (file.read_text() == text) == is_kept
        assert [finished.recipe for finished in read_finished_runs(RunStore(tmp_path))] == [recipe]


def test_parameters_of_mlflow_are_the_recipe(tmp_path):
    """The recipe of a folder comes back from MLflow's flat texts, lists and options included."""
    recipe = run(tmp_path, attn="eca", seed=0, top1=0.5, model__options={"k": [3, 5, 7]}, model__stages=[1, -1])
    assert mlflow_rows._parse_recipe(flatten_params(recipe)) == recipe
    options = {"se": {"reduction": 8}, "eca": {"k": 5}}  # of a combination, by part
    recipe = run(tmp_path, attn="se+eca", seed=0, top1=0.5, model__options=options)
    assert mlflow_rows._parse_recipe(flatten_params(recipe)) == recipe


def test_texts_that_look_like_numbers_stay_texts(tmp_path):
    """A folder 2024 and a column 1e3 come back as texts, also from stores of earlier versions, which quoted none."""
    recipe = recipes.read(values={"data.name": "folder", "data.root": "2024", "data.label_column": "1e3"})
    params = flatten_params(recipe)
    assert mlflow_rows._parse_recipe(params) == recipe
    assert mlflow_rows._parse_recipe(params | {"data.root": "2024", "data.label_column": "1e3"}) == recipe
    options = recipes.read(values={"model.attn": "gate.py:Gate", "model.options": {"form": "8", "n": 8}})
    assert mlflow_rows._parse_recipe(flatten_params(options)).model.options == {"form": "8", "n": 8}


def test_folder_and_store_complete_each_other(recorded):
    """A run of the store alone and one of the folder alone are read, every digest once, with the same figures."""
    forget_run(recorded / "mlflow.db", ONLY_IN_FOLDER)
    finished = {r.digest: r for r in read_finished_runs(RunStore(recorded))}
    assert len(finished) == 7
    assert {digest for digest, r in finished.items() if r.folder is None} == {ONLY_IN_STORE}
    stored = finished[ONLY_IN_STORE]
    assert (stored.result.params, stored.result.macs, stored.result.test_top1) == (269749, 2536048, 112 / 359)
    assert stored.result.baseline_params == 269722
    assert stored.result.machine["torch"]


def test_an_unreadable_folder_is_completed_by_the_store(recorded):
    """A run whose recipe is damaged counts by what MLflow has of it."""
    (recorded / ONLY_IN_FOLDER / "recipe.yaml").write_text("[")
    finished = {r.digest: r for r in read_finished_runs(RunStore(recorded))}
    assert finished[ONLY_IN_FOLDER].folder is None
    assert finished[ONLY_IN_FOLDER].recipe.model.backbone == "resnet20"


def make_newer(runs, digest, *, version, params):
    """Change a run of the MLflow store into one that another version wrote, with more parameters."""
    with closing(sqlite3.connect(runs / "mlflow.db")) as database, database as connection:
        (run_id,) = connection.execute(
            "SELECT run_uuid FROM tags WHERE key = 'digest' AND value = ?", [digest]
        ).fetchone()
        connection.execute(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'attncli.version'", [version, run_id]
        )
        for key, value in params.items():
            connection.execute(
                "INSERT OR REPLACE INTO params (key, value, run_uuid) VALUES (?, ?, ?)", [key, value, run_id]
            )


def read_with_reports(runs):
    """Return the finished runs by digest, and the lines that were reported about others."""
    errors = []
    finished = {run.digest: run for run in read_finished_runs(RunStore(runs), errors.append)}
    return finished, [f"{error.problem}; {error.hint}" for error in errors]


@pytest.mark.parametrize(
    ("version", "params", "told"),
    [
        ("0.9.0", {"train.newest": "1"}, "1 finished run of a newer version (0.9.0) cannot be read, as this one does "
         "not know train.newest; update attncli"),
        ("0.9.0", {"train.schedule": "newest"}, "1 finished run of a newer version (0.9.0) cannot be read; "
         "update attncli"),
        ("0.1.0", {"train.epochs": "many"}, "1 finished run cannot be read (damaged, or of a newer version): "
         f"{ONLY_IN_STORE}; the command of such a run trains it again"),
    ],
)  # fmt: skip
def test_runs_of_the_store_alone_that_cannot_be_read_are_told_of(recorded, version, params, told):
    """How many, which version wrote them, why, and the remedy; the others are read."""
    make_newer(recorded, ONLY_IN_STORE, version=version, params=params)
    finished, lines = read_with_reports(recorded)
    assert lines == [told]
    assert len(finished) == 6


def make_newer_folder(folder, version):
    """Change the folder of a run into one that another version wrote, with one more key in its recipe."""
    with (folder / "recipe.yaml").open("a") as file:
        file.write("newer: 1\n")
    origin = json.loads((folder / ORIGIN_FILE).read_text())
    (folder / ORIGIN_FILE).write_text(json.dumps(origin | {"version": version}))


def test_newer_runs_of_folder_and_store_are_told_of_in_one_line(recorded):
    """A run that both have counts once, and one that the store can still give is none of them."""
    make_newer(recorded, ONLY_IN_STORE, version="0.10.0", params={"train.newest": "1"})
    make_newer(recorded, ONLY_IN_FOLDER, version="0.9.0", params={"newer": "1"})
    in_both = next(p.parent for p in sorted(recorded.glob("*/result.json")) if p.parent.name != ONLY_IN_FOLDER)
    for folder in (recorded / ONLY_IN_FOLDER, in_both):
        make_newer_folder(folder, "0.9.0")
    finished, lines = read_with_reports(recorded)
    assert lines == [
        "2 finished runs of a newer version (0.9.0, 0.10.0) cannot be read, as this one does not know newer, "
        "train.newest; update attncli"
    ]
    assert finished[in_both.name].folder is None
    assert not {ONLY_IN_STORE, ONLY_IN_FOLDER} & finished.keys()


def test_commands_tell_of_newer_runs_once(recorded, monkeypatch):
    """One line on stderr, or a warning in Python, of all that takes runs from MLflow; the others are used."""
    make_newer(recorded, ONLY_IN_STORE, version="0.9.0", params={"train.newest": "1"})
    monkeypatch.setenv("ATTNCLI_RUNS", str(recorded))
    for words in (
        "compare --no-plot",
        "compare --json --no-plot",
        "claims eca-params",
        "published --attn eca",
        "report",
    ):
        done = line(*words.split())
        assert done.code == 0, done.err
        assert done.err.count("1 finished run of a newer version (0.9.0)") == 1, words
    for function in (list_runs, compare):
        with pytest.warns(UserWarning, match=r"newer version \(0\.9\.0\).*update attncli") as warned:
            assert len(function(recorded)) > 1
        assert [Path(warning.filename).name for warning in warned] == [Path(__file__).name]


def test_lists_tell_of_runs_that_cannot_be_read(recorded):
    """`ls runs` left out folders whose recipe cannot be read; it says so, unless MLflow has what it lists."""
    make_newer_folder(recorded / ONLY_IN_FOLDER, "0.9.0")
    before = line("ls", "runs", "--runs", str(recorded), "--json")
    assert before.err == ""
    forget_run(recorded / "mlflow.db", ONLY_IN_FOLDER)
    damaged = next(p.parent for p in sorted(recorded.glob("*/recipe.yaml")) if p.parent.name != ONLY_IN_FOLDER)
    (damaged / "recipe.yaml").write_text("[")
    forget_run(recorded / "mlflow.db", damaged.name)
    after = line("ls", "runs", "--runs", str(recorded), "--json")
    assert {row["digest"] for row in before.json()} - {row["digest"] for row in after.json()} == {
        ONLY_IN_FOLDER,
        damaged.name,
    }
    newer_line, damaged_line = after.err.splitlines()
    assert newer_line.startswith("1 run of a newer version (0.9.0) cannot be read, as this one does not know newer;")
    assert damaged_line.startswith(f"1 run cannot be read (damaged, or of a newer version): {damaged.name};")


def test_a_run_without_result_and_origin_is_listed(tmp_path):
    """As killed, which `attncli sync` takes it for; it was left out."""
    digest = run(tmp_path, attn="eca", seed=0, top1=0.5).compute_digest()
    (tmp_path / digest / "result.json").unlink()
    (overview,) = list_run_overviews(RunStore(tmp_path))
    assert (overview.digest, overview.status, overview.test_top1) == (digest, "KILLED", None)


def test_a_digest_whose_recipe_cannot_be_read_is_not_unknown(tmp_path):
    """The error says what is wrong with the recipe; other words still get the nearest name."""
    digests = [run(tmp_path, attn="eca", seed=seed, top1=0.5).compute_digest() for seed in range(2)]
    with (tmp_path / digests[0] / "recipe.yaml").open("a") as file:
        file.write("newer: 1\n")
    with pytest.raises(UserError, match="newer") as caught:
        find_run_folder(tmp_path, digests[0][:8])
    assert "update attncli" in caught.value.hint
    assert find_run_folder(tmp_path, digests[1][:8]) == tmp_path / digests[1]
    with pytest.raises(UserError, match="unknown run"):
        find_run_folder(tmp_path, "zz")


def test_mlflow_is_not_asked_for_what_the_folder_has(recorded, monkeypatch):
    """If every finished run of an SQLite store lies in the folder, MLflow is not even loaded."""
    forget_run(recorded / "mlflow.db", ONLY_IN_STORE)
    monkeypatch.setattr(track, "list_run_rows", lambda *_, **__: pytest.fail("MLflow was asked"))
    assert len(read_finished_runs(RunStore(recorded))) == 6


@pytest.mark.parametrize("has_store", [pytest.param(True, id="folder and store"), pytest.param(False, id="folder")])
def test_compare_and_report_show_the_same_table(recorded, has_store):
    """The tables of `compare` and `report` are the same, with the run that only MLflow has."""
    if not has_store:
        (recorded / "mlflow.db").unlink()
    table = line("compare", "--format", "markdown", "--no-plot").out
    report = line("report", "--no-track", "--attn", "eca,se")
    assert report.code == 0, report.err
    text = (recorded / "report.md").read_text(encoding="utf-8")
    assert table.strip() in text
    rows = line("compare", "--json", "--no-plot").json()
    counts = {row["attn"]: row["n"] for row in rows}
    assert counts == {"none": 2, "eca": 3 if has_store else 2, "se": 2}


def test_every_run_is_listed_newest_first(recorded):
    """`ls runs` has those of the store, unfinished ones too, and finished ones that only the folder has."""
    before = [o.digest for o in list_run_overviews(RunStore(recorded))]
    forget_run(recorded / "mlflow.db", ONLY_IN_FOLDER)
    after = list_run_overviews(RunStore(recorded))
    assert [o.digest for o in after] == before
    assert {o.status for o in after} == {"FINISHED", "KILLED"}
    assert [o.digest for o in list_run_overviews(RunStore(recorded)) if o.test_top1 is None] != []


def test_a_run_is_found_by_name_digest_and_path(tmp_path):
    """Name, beginning of the digest, and path lead to the folder; names that nobody has get the nearest."""
    digest = run(tmp_path, attn="eca", seed=3, top1=0.5).compute_digest()
    run(tmp_path, attn="se", seed=3, top1=0.5)
    for word in ("eca-resnet20-s3", digest, digest[:6], str(tmp_path / digest)):
        assert find_run_folder(tmp_path, word) == tmp_path / digest
    with pytest.raises(UserError, match="eca-resnet20-s4") as error:
        find_run_folder(tmp_path, "eca-resnet20-s4")
    assert "eca-resnet20-s3" in error.value.hint


def test_finished_runs_of_a_name_go_first(tmp_path):
    """Of two runs of one name the finished one is meant, though the other is later."""
    finished = run(tmp_path, attn="eca", seed=3, top1=0.5).compute_digest()
    later = run(tmp_path, attn="eca", seed=3, top1=0.5, train__epochs=3).compute_digest()
    (tmp_path / later / "result.json").unlink()
    lines: list[str] = []
    assert find_run_folder(tmp_path, "eca-resnet20-s3", lines.append) == tmp_path / finished
    assert len(lines) == 1
    assert lines[0].index(finished) < lines[0].index(later)
    assert find_run_folder(tmp_path, finished, lines.append) == tmp_path / finished
    assert len(lines) == 1


def test_several_digests_are_not_guessed(tmp_path):
    """The beginning of two digests is an error that asks for more of it."""
    for name in ("ab1", "ab2"):
        recipe = run(tmp_path / "made", attn="eca", seed=int(name[-1]), top1=0.5)
        shutil.move(tmp_path / "made" / recipe.compute_digest(), tmp_path / name)
    with pytest.raises(UserError, match="2 digests"):
        find_run_folder(tmp_path, "ab")


def test_a_run_deleted_in_mlflow_is_named_and_comes_back(recorded):
    """A finished run whose MLflow run was deleted is untracked, until `sync` adds it."""
    store = RunStore(recorded)
    runs = [run for run in read_finished_runs(store) if run.folder is not None]
    assert list_untracked_runs(store, runs) == []
    forget_run(recorded / "mlflow.db", ONLY_IN_FOLDER)
    assert [run.digest for run in list_untracked_runs(store, runs)] == [ONLY_IN_FOLDER]
    outcome = next(outcome for outcome in track.sync_runs(store) if outcome.digest == ONLY_IN_FOLDER)
    assert outcome.created
    assert list_untracked_runs(store, runs) == []


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ({"attn": ["eca", "ecaa"]}, "did you mean 'eca'? the finished runs have eca, none"),
        ({"attn": ["simam"]}, "the finished runs have eca, none"),
        ({"backbone": "ResNet-18"}, "did you mean 'resnet18'?"),
        ({"dataset": "mini"}, "the finished runs have digits"),
    ],
)
def test_a_filter_that_no_run_meets_is_refused(filters, hint):
    """The name is refused with those that the finished runs have; names that they have pass."""
    runs = [
        SimpleNamespace(
            result=SimpleNamespace(attn=attn),
            dataset="digits",
            images="digits",
            is_on=lambda name: name in (None, "digits"),
            recipe=SimpleNamespace(model=SimpleNamespace(backbone_label="resnet18")),
        )
        for attn in ("none", "eca")
    ]
    with pytest.raises(UserError, match="no finished run has it") as caught:
        read_run_filter(**filters).refuse_unknown_names(runs)
    assert caught.value.hint.startswith(hint)
    read_run_filter(attn=["eca", "none"], backbone="resnet18", dataset="digits").refuse_unknown_names(runs)
    read_run_filter(**filters).refuse_unknown_names([])


def test_results_of_a_moved_folder_name_where_they_lie(tmp_path):
    """The folder in a result is the one in which it was found; accuracies that are none make it a damaged one."""
    run(tmp_path / "before", attn="eca", seed=0, top1=0.5)
    (tmp_path / "before").rename(tmp_path / "after")
    (folder,) = (tmp_path / "after").iterdir()
    (moved,) = read_finished_runs(RunStore(tmp_path / "after"))
    assert moved.result.folder == str(folder)
    file = folder / "result.json"
    file.write_text(file.read_text().replace('"test_top1": 0.5', '"test_top1": Infinity'))
    assert read_finished_runs(RunStore(tmp_path / "after")) == []


def test_runs_of_one_name_are_told_apart(tmp_path):
    """Lists and the hint for a typing error show what differs, and that full name finds the run."""
    digests = [run(tmp_path, attn="eca", seed=3, top1=0.5, train__lr=lr).compute_digest() for lr in (0.1, 0.3)]
    names = ["eca-resnet20-s3[lr=0.1]", "eca-resnet20-s3[lr=0.3]"]
    assert {o.name: o.digest for o in list_run_overviews(RunStore(tmp_path))} == dict(zip(names, digests, strict=True))
    assert sorted(list_runs(tmp_path)["name"]) == names
    for name, digest in zip(names, digests, strict=True):
        assert find_run_folder(tmp_path, name) == tmp_path / digest
        assert locate_pretrained_run(tmp_path, name) == str(tmp_path / digest)
    lines: list[str] = []
    find_run_folder(tmp_path, "eca-resnet20-s3", lines.append)
    assert all(name in lines[0] for name in names)
    with pytest.raises(UserError) as error:
        find_run_folder(tmp_path, "eca-resnet20-s3[lr=0.4]")
    assert "eca-resnet20-s3[lr=0." in error.value.hint


def test_a_place_in_a_name_is_no_path(tmp_path):
    """The name of a run in some stages has a slash: it is a run where one has the name, and else a file."""
    digest = run(tmp_path, attn="se", seed=0, top1=0.5, model__stages=[3]).compute_digest()
    assert locate_pretrained_run(tmp_path, "se/3-resnet20-s0") == str(tmp_path / digest)
    assert locate_pretrained_run(tmp_path, "weights/best.pth") == "weights/best.pth"


def fail_run(runs, recipe, text=None, version="0.1.0"):
    """Make a failed run of a finished one, with another recipe in its folder if a text is given."""
    folder = runs / recipe.compute_digest()
    (folder / "result.json").unlink()
    if text is not None:
        (folder / "recipe.yaml").write_text(text)
    process = ProcessIdentity(host="h", pid=1, started=2.0)
    group = recipe.compute_group()
    origin = Provenance(
        digest=folder.name, group=group, started_ms=0, process=process, status="FAILED", version=version
    )
    write_provenance(folder, origin)


def test_a_failed_run_says_its_conditions(tmp_path):
    """Those that its origin.json holds. Earlier versions kept the machine alone: one without a GPU is a CPU."""
    tags = {"precision": "bf16", "device": "cuda:0", "code": "aa/bb", "planned_seeds": "3"}
    machines = ({"torch": "2.14.1", "gpu": "H200"}, {"torch": "2.14.1", "gpu": None}, {"gpu": "H200"}, {})
    found = []
    for seed, (machine, own_tags) in enumerate(zip(machines, (tags, {}, {}, {}), strict=True)):
        recipe = run(tmp_path, attn="eca", seed=seed, top1=0.5)
        folder = tmp_path / recipe.compute_digest()
        (folder / "result.json").unlink()
        end_provenance(folder, begin_provenance(folder, recipe, None, machine, tags=own_tags), "FAILED")
        found += [failed for failed in read_failed_runs(tmp_path) if failed.seed == seed]
    assert [(failed.precision, failed.device, failed.code) for failed in found] == [
        ("bf16", "cuda:0", "aa/bb"), ("auto", "cpu", ""), ("auto", "", ""), ("auto", "", ""),
    ]  # fmt: skip
    assert tuple(failed.machine for failed in found) == machines


def test_failed_runs_that_cannot_be_read_are_told_of(tmp_path):
    """In one line by reason, as of finished runs; those that can be read are there. doctor tells of the others too."""
    made = [run(tmp_path, attn="eca", seed=seed, top1=0.5) for seed in range(3)]
    newer = made[2].to_yaml() + "newer: 1\n"
    for recipe, text, version in zip(made, (None, "[", newer), ("0.1.0", "0.1.0", "0.9.0"), strict=True):
        fail_run(tmp_path, recipe, text, version)
    errors: list[UserError] = []
    assert [failed.seed for failed in read_failed_runs(tmp_path, errors.append)] == [0]
    assert [error.problem for error in errors] == [
        "1 failed run of a newer version (0.9.0) cannot be read, as this one does not know newer",
        f"1 failed run cannot be read (damaged, or of a newer version): {made[1].compute_digest()}",
    ]
    told = {finding["what"]: finding for finding in json.loads(line("doctor", "--runs", str(tmp_path), "--json").out)}
    assert not told["runs"]["ok"]
    assert "1 failed run of a newer version" in told["runs"]["found"]


def test_many_unreadable_runs_are_counted():
    """The first ones are named, and how many others there are."""
    (error,) = explain_unreadable_runs([UnreadableRun(digest=f"{number:012}") for number in range(7)])
    assert error.problem.endswith("000000000004 and 2 more")


def test_doctor_tells_of_runs_that_only_mlflow_has(recorded):
    """How many have no folder; one of a newer version is a bad finding, as other commands cannot use it."""

    def find_store():
        told = json.loads(line("doctor", "--runs", str(recorded), "--json").out)
        return next(finding for finding in told if finding["what"] == "store")

    whole = find_store()
    assert whole["ok"]
    assert "1 without a folder" in whole["found"]
    make_newer(recorded, ONLY_IN_STORE, version="0.9.0", params={"train.newest": "1"})
    bad = find_store()
    assert not bad["ok"]
    assert "1 finished run of a newer version (0.9.0) cannot be read" in bad["found"]
    assert bad["hint"] == "update attncli"


def test_doctor_shows_no_password(tmp_path, monkeypatch):
    """What it prints is pasted into reports; the rest of the address is there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:secret@host/db")
    monkeypatch.setattr(track, "list_run_rows", lambda _: [])
    text = line("doctor", "--runs", str(tmp_path), "--json").out
    assert "postgresql+psycopg://host/db from MLFLOW_TRACKING_URI: 0 runs" in text
    assert "secret" not in text
