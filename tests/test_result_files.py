"""Results travel in one file: what comes out is what went in, pairs with one's own, or is refused."""

import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from attncli import recipe
from attncli.analysis.compare import compare_variants
from attncli.analysis.result_merging import merge_results, rename_failed_groups
from attncli.errors import UserError
from attncli.literature import published
from attncli.recipe import Recipe, parse_yaml
from attncli.result_files import (
    RESULTS_INFO,
    export_results,
    extract_results,
    forget_failed_root,
    format_portable_recipe,
    imported_results,
    read_failures_of_results,
)
from attncli.runs import RECIPE, FailedRun, FinishedRun, read_folder_runs
from attncli.track.provenance import DatasetInfo, begin_provenance, end_provenance
from tests.analysis.case import finished
from tests.claims.case import claims_file, pairs, run
from tests.commands.line import line, refused
from tests.earlier_versions.test_runs_stay_readable import unpack_earlier_runs

PLUGIN = """from torch import nn


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x):
        return x
"""


def write_runs(folder: Path, attn: str, accuracies: tuple[float, ...], **keys: object) -> Path:
    """The folder of runs of one mechanism, one for each seed."""
    for seed, top1 in enumerate(accuracies):
        run(folder, attn=attn, seed=seed, top1=top1, **keys)
    return folder


def write_file(folder: Path, file: Path) -> Path:
    """The runs of a folder as a file of results."""
    export_results(list(read_folder_runs(folder)), file)
    return file


def test_runs_come_out_as_they_went_in(tmp_path: Path) -> None:
    """Recipes and results are equal; weights stay behind."""
    folder = write_runs(tmp_path / "theirs", "eca", (0.9, 0.8))
    (next(folder.iterdir()) / "checkpoint").mkdir()
    file = write_file(folder, tmp_path / "theirs.zip")
    with imported_results([file]) as runs:
        sent = {r.digest: (r.recipe, replace(r.result, folder="")) for r in read_folder_runs(folder)}
        assert {r.digest: (r.recipe, replace(r.result, folder="")) for r in runs} == sent
    assert not any("checkpoint" in name for name in zipfile.ZipFile(file).namelist())


def add_unknown_keys(file: Path, seeds: Collection[int]) -> None:
    """Change a file of results to one of a newer version: recipes of some seeds have a key that is not known here."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            is_newer = name.endswith(RECIPE) and any(f"\nseed: {seed}\n".encode() in content for seed in seeds)
            archive.writestr(name, content.replace(b"train:", b"train:\n  of_tomorrow: null") if is_newer else content)


def test_runs_of_a_newer_version_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the file, how many of its runs are left out, the key and the way on; the others are used."""
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "runs", "none", (0.90, 0.90, 0.90))
    file = write_file(write_runs(tmp_path / "theirs", "eca", (0.92, 0.93, 0.94)), tmp_path / "theirs.results")
    add_unknown_keys(file, (1, 2))
    sweep = ("sweep", "--attn", "eca", "--backbone", "resnet20", "--seeds", "3", "--dry-run")
    for words in (("compare",), ("claims", "--kind", "accuracy"), sweep):
        told = [text for text in line(*words, "--with", file.name).err.splitlines() if file.name in text]
        assert len(told) == 1, words
        for part in ("2 finished runs", "train.of_tomorrow", "update attncli"):
            assert part in told[0], words
    assert [(row["attn"], row["n"]) for row in line("compare", "--with", file.name, "--json").json()] == [
        ("none", 3),
        ("eca", 1),
    ]


def test_a_file_of_which_no_run_can_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep would train all of its runs again."""
    monkeypatch.chdir(tmp_path)
    file = write_file(write_runs(tmp_path / "theirs", "eca", (0.92, 0.93)), tmp_path / "theirs.results")
    add_unknown_keys(file, (0, 1))
    sweep = ("sweep", "--attn", "eca", "--backbone", "resnet20", "--seeds", "3", "--dry-run")
    for words in (("compare",), sweep):
        refused(line(*words, "--with", file.name), file.name, "2 finished runs", "train.of_tomorrow", "update attncli")


def test_the_first_version_knows_every_key_at_its_default(tmp_path: Path) -> None:
    """Keys that were added since are left out unless they are set, so that it can read the runs; digests stay."""
    earlier = parse_yaml((next(unpack_earlier_runs(tmp_path).glob(f"*/{RECIPE}"))).read_text())
    text = format_portable_recipe(Recipe())
    tree = parse_yaml(text)
    assert tree.keys() <= earlier.keys()
    for name, section in tree.items():
        assert not isinstance(section, dict) or section.keys() <= earlier[name].keys()
    changed = recipe.read(None, ["data.bad=skip", "measure.check_memory=false", "planned_seeds=4"])
    assert Recipe.model_validate(tree) == Recipe()
    assert Recipe.model_validate(parse_yaml(format_portable_recipe(changed))) == changed


def test_runs_of_others_are_paired_with_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their eca against one's own plain networks, seed by seed; a run that both have counts once."""
    monkeypatch.chdir(tmp_path)
    theirs = write_runs(tmp_path / "theirs", "eca", (0.92, 0.93, 0.94))
    write_runs(theirs, "none", (0.1,))
    write_runs(tmp_path / "runs", "none", (0.90, 0.90, 0.90))
    write_file(theirs, tmp_path / "theirs.zip")
    rows = line("compare", "--with", "theirs.zip", "--json").json()
    assert [(row["attn"], row["n"]) for row in rows] == [("none", 3), ("eca", 3)]
    assert rows[1]["diff"] == pytest.approx(0.03)
    assert not list((tmp_path / "runs").glob("compare-*.png"))
    line("compare", "--with", "theirs.zip", "--plot")
    assert len(list((tmp_path / "runs").glob("compare-*.png"))) == 1


def test_trainings_under_other_conditions_are_other_runs() -> None:
    """Their plain networks stay the pairs of their mechanisms, though one has trained these recipes with another torch.

    Of two files the order changes no figure.
    """
    runs = [finished(attn, seed) for attn in ("none", "eca") for seed in (0, 1, 2)]
    theirs = [
        [
            replace(run, is_imported=True, result=replace(run.result, machine={"torch": torch}, test_top1=top1))
            for run in runs
        ]
        for torch, top1 in (("2.16.0", 0.91), ("2.17.0", 0.92))
    ]

    def list_pairs(own: list[FinishedRun], *files: list[FinishedRun]) -> set[tuple[str, str, int, int]]:
        rows = compare_variants(merge_results(own, [run for file in files for run in file], must_match=False))
        return {(row.recipe, row.attn, row.accuracy.n, row.difference.n) for row in rows if row.difference is not None}

    assert list_pairs(runs[:3], theirs[0]) == {("torch=2.16", "eca", 3, 3)}
    assert list_pairs([], *theirs) == list_pairs([], *reversed(theirs)) == {
        ("torch=2.16", "eca", 3, 3), ("torch=2.17", "eca", 3, 3)
    }  # fmt: skip
    unknown = [replace(run, result=replace(run.result, machine={})) for run in runs]
    assert len(merge_results(unknown, theirs[0], must_match=False)) == len(runs)  # what both say is the same


def test_the_path_of_published_images_stays_behind(tmp_path: Path) -> None:
    """Neither the recipe nor the provenance has it, and the digest is the same without it."""
    write_runs(tmp_path / "runs", "none", (0.9,), data__name="cifar10", data__root=str(tmp_path / "images"))
    [run] = read_folder_runs(tmp_path / "runs")
    facts = DatasetInfo(
        name="cifar10", digest="d", source=str(tmp_path / "images"), classes=(), size=(32, 32), train=1, val=0, test=1
    )
    end_provenance(run.folder, begin_provenance(run.folder, run.recipe, facts, {}), "FINISHED")
    file = write_file(tmp_path / "runs", tmp_path / "a.results")
    with zipfile.ZipFile(file) as archive:
        assert not [name for name in archive.namelist() if str(tmp_path).encode() in archive.read(name)]
    with imported_results([file]) as [there]:
        assert (there.digest, there.recipe.data.root) == (run.digest, None)


def test_a_failed_seed_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant is not judged elsewhere either; the path of the images stays behind, and strangers are not told."""
    monkeypatch.chdir(tmp_path)
    keys = {"data__name": "folder", "data__root": str(tmp_path / "flowers")}
    write_runs(tmp_path / "theirs", "none", (0.90, 0.90, 0.90, 0.91), **keys)
    write_runs(tmp_path / "theirs", "eca", (0.96, 0.961, 0.96), **keys)
    runs = list(read_folder_runs(tmp_path / "theirs"))
    failed_recipes = [
        next(run.recipe for run in runs if run.result.attn == "eca").model_copy(update={"seed": 3}),
        Recipe.model_validate({"model": {"attn": "se"}}),
    ]
    failures = [
        FailedRun(
            recipe=r, digest=r.compute_digest(), group=r.compute_group(), data_digest="d" * 64, precision="fp32",
            device="cpu", machine={"torch": "2.14.1"}, code="aaaaaaaa/bbbbbbbb",
        )
        for r in failed_recipes
    ]  # fmt: skip
    export_results(runs, tmp_path / "theirs.results", failures=failures)
    assert str(tmp_path) not in zipfile.ZipFile("theirs.results").read(RESULTS_INFO).decode()
    [read_failure] = read_failures_of_results([Path("theirs.results")])
    assert replace(read_failure, recipe=failures[0].recipe) == replace(
        forget_failed_root(failures[0]), recipe=failures[0].recipe
    )
    rows = line("compare", "--alone", "--with", "theirs.results", "--json").json()
    [eca] = [row for row in rows if row["attn"] == "eca"]
    assert (eca["n"], eca["failed_seeds"], eca["verdict"][:10]) == (3, [3], "not judged")


def test_images_keep_the_name_of_ones_own_folder(tmp_path: Path) -> None:
    """Both sides' runs on the same images have it, unless the file says which dataset they are."""
    own = write_runs(tmp_path / "own", "none", (0.9,), data__name="folder", data__root=str(tmp_path / "flowers"))
    there = write_runs(tmp_path / "there", "eca", (0.9,), data__name="folder", data__root="/theirs/x")
    for name, folder_is in (("flowers", None), ("cifar10", "cifar10")):
        file = tmp_path / f"{name}.results"
        export_results(list(read_folder_runs(there)), file, folder_is=folder_is)
        with imported_results([file]) as others:
            merged = merge_results(list(read_folder_runs(own)), others)
        assert [(run.images, run.is_on(name)) for run in merged] == [(name, True)] * 2
        assert {row.images for row in compare_variants(merged)} == {name}


def test_claims_are_judged_by_the_runs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is untested without their pairs, and judged with them."""
    monkeypatch.chdir(tmp_path)
    pairs(tmp_path / "theirs", "eca", (0.94, 0.95, 0.94), (0.90, 0.91, 0.90))
    write_file(tmp_path / "theirs", tmp_path / "theirs.results")
    words = ("--file", str(claims_file(tmp_path, "top1(resnet20 + eca) > top1(resnet20)")), "--json")
    outcomes = [line("claims", *words, *more).json()[0]["outcome"] for more in ((), ("--with", "theirs.results"))]
    assert outcomes == ["untested", "undecided"]  # judged: the plain network of the runs is below what is published


def test_a_report_has_the_runs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`report --with` pairs them with one's own, judges own claims, and the command that it prints makes it again."""
    monkeypatch.chdir(tmp_path)
    write_file(write_runs(tmp_path / "theirs", "eca", (0.92, 0.93)), tmp_path / "theirs.zip")
    write_runs(tmp_path / "runs", "none", (0.90, 0.90))
    claims = claims_file(tmp_path, "top1(resnet20 + eca) > top1(resnet20)", name="mine")
    monkeypatch.setattr(published, "load_published_rows", list)  # their networks take seconds to count
    done = line("report", "--with", "theirs.zip", "--file", claims.name, "--title", "Ours and theirs")
    assert done.code == 0, done.err
    assert "runs of the folder runs, theirs.zip" in Path("runs/report.md").read_text()
    page = Path(done.out.strip()).read_text()
    assert "+2.50" in page
    assert "Ours and theirs" in page
    assert "c0" in page
    assert "--with theirs.zip --file mine.yaml --title &#39;Ours and theirs&#39;" in page
    assert "+2.50" in (tmp_path / "runs" / "report.md").read_text()
    refused(line("report", "--with", "nowhere.zip"), "nowhere.zip")


def test_a_report_is_about_any_mechanism(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also about one that has runs and no claims, such as the user's own or none; not about a misspelt one."""
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "runs", "none", (0.90, 0.91))
    monkeypatch.setattr(published, "load_published_rows", list)
    done = line("report", "--attn", "none", "--no-track")
    assert done.code == 0, done.err
    text = Path("runs/report.md").read_text()
    assert ("90.50" in text, "## Claims" in text) == (True, False)
    refused(line("report", "--attn", "none,ecaa", "--no-track"), "ecaa", "did you mean 'eca'?")


def test_what_does_not_match_is_refused(tmp_path: Path) -> None:
    """Other images under the same recipe, and runs of which none could be paired."""
    own = list(read_folder_runs(write_runs(tmp_path / "own", "none", (0.9,))))
    for name, keys, problem in (
        ("images", {"data_digest": "e" * 64}, "saw other images"),
        ("recipe", {"train__epochs": 3}, "none can be paired"),
    ):
        file = write_file(write_runs(tmp_path / name, "none", (0.9,), **keys), tmp_path / f"{name}.zip")
        with imported_results([file]) as others, pytest.raises(UserError, match=problem):
            merge_results(own, others)


def test_only_files_of_runs_leave_the_archive(tmp_path: Path) -> None:
    """Other names, also those that lead out of the folder, are ignored; other files are refused."""
    file = write_file(write_runs(tmp_path / "theirs", "eca", (0.9,)), tmp_path / "theirs.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("../evil.txt", "x")
        archive.writestr("0123456789ab/evil.py", "x")
    with imported_results([file]) as runs:
        assert len(runs) == 1
        assert runs[0].folder is not None
        assert [p.name for p in runs[0].folder.parent.rglob("evil*")] == []
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match="not a file of results"), imported_results([tmp_path / "text.zip"]):
        pass


@pytest.mark.parametrize("info", ['{"format": 1}', '{"format": 1, "runs": 3}', "[]", "1", "{", '{"format": "x"}'])
def test_an_archive_without_the_list_of_runs_is_refused(tmp_path: Path, info: str) -> None:
    """One line says so, whatever the file of the archive holds."""
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr(RESULTS_INFO, info)
    with pytest.raises(UserError, match="not a file of results"):
        extract_results(tmp_path / "other.zip", tmp_path / "target")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    """Bit 0 of a member's flags says that it has a password."""
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(RESULTS_INFO, '{"format": 1, "runs": []}')
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a file of results"):
        extract_results(path, tmp_path / "target")


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the archive is written leaves neither the file nor its temporary one."""
    runs = list(read_folder_runs(write_runs(tmp_path / "theirs", "eca", (0.9,))))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "writestr", interrupt)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        export_results(runs, tmp_path / "out" / "x.results")
    assert list((tmp_path / "out").iterdir()) == []


def test_failed_runs_follow_their_group(tmp_path: Path) -> None:
    """One's own failed seed is one of the runs on its images, also if only others finished a run of that mechanism."""
    keys = {"data__name": "folder", "data__root": str(tmp_path)}
    write_runs(tmp_path / "own", "eca", (0.9,), **keys)
    failed = [run(tmp_path / "failed", attn=attn, seed=1, top1=0.0, **keys) for attn in ("eca", "se")]
    there = write_runs(tmp_path / "there", "none", (0.8, 0.8), data__name="folder", data__root="/theirs")
    write_runs(there, "se", (0.9, 0.9), data__name="folder", data__root="/theirs")
    failures = [FailedRun(recipe=r, digest=r.compute_digest(), group=r.compute_group(), data_digest="d" * 64)
                for r in failed]  # fmt: skip
    elsewhere = replace(failures[1], data_digest="e" * 64)
    with imported_results([write_file(there, tmp_path / "there.results")]) as others:
        merged = merge_results(list(read_folder_runs(tmp_path / "own")), others)
        renamed = rename_failed_groups([*failures, elsewhere], others)
    groups = {run.result.attn: run.result.group for run in merged}
    assert [f.group for f in renamed] == [groups["eca"], groups["se"], elsewhere.group]
    assert [run.is_imported for run in merged] == [False, True, True, True, True]
    rows = {row.attn: row for row in compare_variants(merged, failures=[renamed[0]])}
    assert rows["eca"].failed_seeds == (1,)


def test_runs_of_code_that_is_gone_stay_as_they_are(tmp_path: Path) -> None:
    """A run of a file of one's own that was deleted keeps its digest, and does not stop the others."""
    code = tmp_path / "mine.py"
    code.write_text(PLUGIN)
    folder = {"data__name": "folder", "data__root": str(tmp_path)}
    own = write_runs(tmp_path / "own", str(code), (0.9,), **folder)
    there = write_runs(tmp_path / "there", "none", (0.8,), data__name="folder", data__root="/theirs")
    file = write_file(there, tmp_path / "there.results")
    (run_before,) = read_folder_runs(own)
    code.unlink()
    with imported_results([file]) as others:
        merged = merge_results([run_before], others)
    assert len(merged) == 2
    assert merged[0].digest == run_before.digest


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how many runs it wrote, and refuses to write none."""
    monkeypatch.chdir(tmp_path)
    refused(line("results", "export", "a.zip"), "no finished runs")
    write_runs(Path("runs"), "eca", (0.9, 0.8))
    assert line("results", "export", "a.zip", "--json").json()["runs"] == 2
    refused(line("results", "export", "b.zip", "--backbone", "resnet18"), "no finished run has it")
    Path("mine.py").write_text(PLUGIN)
    write_runs(Path("runs"), "mine.py:Attention", (0.9,), data__name="folder", data__root=str(tmp_path / "flowers"))
    for words, count in (("--attn mine.py:Attention", 1), ("--attn eca", 2), ("--dataset flowers", 1)):
        assert line("results", "export", "c.zip", *words.split(), "--json").json()["runs"] == count
    refused(line("compare", "--with", "nowhere.zip"), "nowhere.zip")


def test_variants_that_are_left_out_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of three mechanisms is not tested beside the others: who writes the file is told, and who reads it."""
    monkeypatch.chdir(tmp_path)
    for attn in ("none", "eca", "se", "cbam"):
        write_runs(Path("runs"), attn, (0.9, 0.8))
    write_runs(Path("runs"), "gc", (0.9, 0.8), data_digest="e" * 64)  # of another baseline
    told = "2 further variants of the same baseline left out"
    done = line("results", "export", "one.results", "--attn", "eca", "--json")
    assert (done.json()["runs"], done.json()["left_out"]) == (4, 2)
    assert told in done.err
    compared = line("compare", "--with", "one.results", "--alone", "--no-plot")
    assert f"one.results: {told}" in compared.err
    whole = line("results", "export", "all.results", "--json")
    assert (whole.json()["left_out"], whole.err) == (0, "")
    assert "left out" not in line("compare", "--with", "all.results", "--alone", "--no-plot").err
