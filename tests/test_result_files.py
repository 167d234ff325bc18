"""Results travel in one file: what comes out is what went in, pairs with one's own, or is refused."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.literature import published
from attncli.result_files import export_results, imported_results, merge_results
from attncli.runs import read_folder_runs
from tests.claims.case import claims_file, pairs, run
from tests.commands.line import line, refused


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
    page = Path(done.out.strip()).read_text()
    assert "+2.50" in page
    assert "Ours and theirs" in page
    assert "c0" in page
    assert "--with theirs.zip --file mine.yaml --title &#39;Ours and theirs&#39;" in page
    assert "+2.50" in (tmp_path / "runs" / "report.md").read_text()
    refused(line("report", "--with", "nowhere.zip"), "nowhere.zip")


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


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how many runs it wrote, and refuses to write none."""
    monkeypatch.chdir(tmp_path)
    refused(line("results", "export", "a.zip"), "no finished runs")
    write_runs(Path("runs"), "eca", (0.9, 0.8))
    assert line("results", "export", "a.zip", "--json").json()["runs"] == 2
    refused(line("results", "export", "b.zip", "--backbone", "resnet18"), "no finished runs")
    refused(line("compare", "--with", "nowhere.zip"), "nowhere.zip")
