"""Runs on the user's own images in a file of results: each with its images, and under the code of its training."""

from pathlib import Path

import pytest

from attncli.analysis.compare import compare_variants
from attncli.analysis.result_merging import merge_results
from attncli.errors import UserError
from attncli.portable_runs import forget_failed_root
from attncli.result_files import export_results, imported_results, read_failures_of_results
from attncli.runs import FailedRun, read_folder_runs
from tests.claims.case import run
from tests.commands import plugins
from tests.commands.line import line

IMAGES = {"flowers": "f" * 64, "birds": "b" * 64}  # digests by the name of the folder


def write_two_datasets(folder: Path, **keys: object) -> Path:
    """The same recipes on two folders of images, whose accuracies differ."""
    for number, (name, digest) in enumerate(IMAGES.items()):
        for attn, top1 in (("none", 0.5), ("eca", 0.6 + 0.1 * number)):
            for seed in range(2):
                run(folder, attn=attn, seed=seed, top1=top1, data_digest=digest, data__name="folder",
                    data__root=f"/home/me/{name}", **keys)  # fmt: skip
    return folder


def test_runs_on_several_folders_travel_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is dropped, each is compared on its own images, and with one's own they are the same runs."""
    monkeypatch.chdir(tmp_path)
    own = list(read_folder_runs(write_two_datasets(tmp_path / "runs")))
    assert line("results", "export", "a.results", "--json").json()["runs"] == 8
    with imported_results([Path("a.results")]) as others:
        assert sorted(r.result.data_digest for r in others) == sorted(4 * [*IMAGES.values()])
        rows = {round(row.difference.mean, 6): row.accuracy.n for row in compare_variants(others) if row.difference}
        assert rows == {0.1: 2, 0.2: 2}
        assert [r.is_imported for r in merge_results(own, others)] == [False] * 8
    export_results(own[::-1], Path("b.results"))  # the digests of the other folder count the images
    with imported_results([Path("a.results"), Path("b.results")]) as others:
        assert len(merge_results([], others)) == 8


@pytest.mark.parametrize(
    ("keys", "folder_is"), [({"data__folds": 2}, None), ({"data__subset_seed": "run"}, None), ({}, "svhn")]
)
def test_folders_that_readers_could_not_tell_apart_are_refused(
    tmp_path: Path, keys: dict, folder_is: str | None
) -> None:
    """Their images have one name, or other digests in each run; those of one folder are exported."""
    runs = list(read_folder_runs(write_two_datasets(tmp_path / "runs", **keys)))
    with pytest.raises(UserError, match="several folders") as caught:
        export_results(runs, tmp_path / "a.results", folder_is=folder_is)
    assert "--dataset NAME" in caught.value.hint
    assert export_results([r for r in runs if r.is_on("birds")], tmp_path / "a.results", folder_is=folder_is) == 4


def test_a_run_keeps_the_digest_of_the_code_that_it_was_trained_with(tmp_path: Path) -> None:
    """Before and after an edit they are two runs, with their failed seeds; code that is gone stops no other run."""
    code = plugins.write(tmp_path / "mine.py")
    keys = {"data__name": "folder", "data__root": str(tmp_path / "flowers")}

    def train(seed: int, folder: Path) -> FailedRun:
        recipe = run(folder, attn=code, seed=seed, top1=0.5, **keys)
        return FailedRun(
            recipe=recipe, digest=recipe.compute_digest(), group=recipe.compute_group(), data_digest="d" * 64
        )

    before, failed = train(0, tmp_path / "runs"), train(1, tmp_path / "elsewhere")
    plugins.write(tmp_path / "mine.py", "x")
    after = train(0, tmp_path / "runs")
    run(tmp_path / "runs", attn="eca", seed=0, top1=0.5, **keys)
    file = tmp_path / "a.results"
    for digests in ({before.digest, forget_failed_root(after).digest}, {before.digest, after.digest}):
        export_results(list(read_folder_runs(tmp_path / "runs")), file, failures=[failed])
        with imported_results([file]) as others:
            assert {r.digest for r in others if r.result.attn != "eca"} == digests
        assert [failure.group for failure in read_failures_of_results([file])] == [before.group]
        (tmp_path / "mine.py").unlink(missing_ok=True)


def test_runs_whose_list_of_classes_is_gone_are_merged(tmp_path: Path) -> None:
    """The digest of the images says which classes they have."""
    (tmp_path / "classes.txt").write_text("a\nb\n")
    keys = {"data__name": "folder", "data__classes": str(tmp_path / "classes.txt")}
    run(tmp_path / "own", attn="none", seed=0, top1=0.5, data__root="/own", **keys)
    run(tmp_path / "theirs", attn="eca", seed=0, top1=0.5, data__root="/theirs", **keys)
    export_results(list(read_folder_runs(tmp_path / "theirs")), tmp_path / "a.results")
    (tmp_path / "classes.txt").unlink()
    with imported_results([tmp_path / "a.results"]) as others:
        merged = merge_results(list(read_folder_runs(tmp_path / "own")), others)
        assert [row.accuracy.n for row in compare_variants(merged)] == [1, 1]
