"""A changed dataset is another run: it never counts as the finished one, and pairs with no run of the old images."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from attncli import data, track
from attncli.data import digest_cache
from attncli.errors import UserError
from attncli.jobs.plan import plan_recipes
from attncli.recipe import Data, Recipe
from attncli.records import RESULT, Result
from attncli.run.naming import describe_dataset
from attncli.track import provenance
from attncli.track.image_identity import read_data_digest
from tests.analysis.case import finished
from tests.data.image_fixtures import folder, picture


def make_recipe(root: Path, attn: str = "none", **keys: object) -> Recipe:
    """A recipe of the folder's images."""
    values = {"data": {"name": "folder", "root": str(root), **keys}, "model": {"attn": attn}}
    return Recipe.model_validate(values)


def finish(runs: Path, recipe: Recipe, top1: float = 1.0) -> Result:
    """Write what a finished run of the recipe leaves on today's images, without training."""
    dataset = data.load(recipe.data, cache=runs / "cache")
    run_folder = runs / recipe.compute_digest()
    run_provenance = provenance.begin_provenance(run_folder, recipe, describe_dataset(dataset), {})
    digest = recipe.compute_digest()
    result = finished(recipe.model.attn, top1=top1, data=dataset.digest, digest=digest, folder=str(run_folder)).result
    (run_folder / "recipe.yaml").write_text(recipe.to_yaml())
    (run_folder / RESULT).write_text(json.dumps(asdict(result)))
    provenance.end_provenance(run_folder, run_provenance, "FINISHED")
    return result


def get_digests(result: Result | None) -> tuple[str, str] | None:
    """The digests of a run and of its images."""
    return (result.digest, result.data_digest) if result else None


def swap_classes(root: Path) -> None:
    """Let the training images of two classes change places; names, sizes and times of all files stay."""
    (root / "train/cat").rename(root / "train/other")
    (root / "train/dog").rename(root / "train/cat")
    (root / "train/other").rename(root / "train/dog")


def test_swapped_classes_are_another_run(tmp_path: Path) -> None:
    """The old run stays as it was, the new one has its own digest, and swapped back the old one is found again."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipe = make_recipe(root)
    old = finish(runs, recipe)
    assert track.pin_changed_images(recipe, runs) is recipe
    swap_classes(root)
    pinned = track.pin_changed_images(recipe, runs)
    assert pinned.compute_digest() != recipe.compute_digest()
    assert pinned.compute_group() == recipe.compute_group()
    assert track.read_finished_result(runs / pinned.compute_digest()) is None
    assert get_digests(track.read_finished_result(runs / recipe.compute_digest())) == get_digests(old)
    new = finish(runs, pinned, 0.0)
    assert new.data_digest != old.data_digest
    assert track.pin_changed_images(recipe, runs) == pinned
    swap_classes(root)
    assert track.pin_changed_images(recipe, runs) is recipe
    with pytest.raises(UserError, match=r"data\.content"):
        data.load(pinned.data, cache=runs / "cache")


def test_an_interrupted_run_of_other_images_is_not_resumed(tmp_path: Path) -> None:
    """A run that only began counts as well: its folder is left alone."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipe = make_recipe(root)
    dataset = data.load(recipe.data, cache=runs / "cache")
    provenance.begin_provenance(runs / recipe.compute_digest(), recipe, describe_dataset(dataset), {})
    assert track.pin_changed_images(recipe, runs) is recipe
    picture(root / "train/owl/more.png", 99)
    assert track.pin_changed_images(recipe, runs) is not recipe


def test_unchanged_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A touched file is read again, and as its content is the same the run is still the finished one."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipe = make_recipe(root)
    finish(runs, recipe)
    loads = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda *args, **options: loads.append(args) or load(*args, **options))
    assert track.pin_changed_images(recipe, runs) is recipe
    assert loads == []
    os.utime(root / "train/cat/0.png", ns=(1, 1))
    assert track.pin_changed_images(recipe, runs) is recipe
    assert len(loads) == 1
    assert track.pin_changed_images(recipe, runs) is recipe
    assert len(loads) == 1


def test_runs_of_earlier_versions_are_compared_by_content(tmp_path: Path) -> None:
    """Without anything in the cache the digest that is recorded in the run decides; so it does without origin.json."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipe = make_recipe(root)
    result = finish(runs, recipe)
    for path in (runs / "cache").iterdir():
        path.unlink()
    assert track.pin_changed_images(recipe, runs) is recipe
    (runs / recipe.compute_digest() / provenance.ORIGIN_FILE).unlink()
    assert read_data_digest(runs / recipe.compute_digest()) == result.data_digest
    swap_classes(root)
    assert track.pin_changed_images(recipe, runs) is not recipe


def test_images_that_are_gone_do_not_hide_a_finished_run(tmp_path: Path) -> None:
    """Nothing says that they changed, so the run is still shown."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipe = make_recipe(root)
    finish(runs, recipe)
    root.rename(tmp_path / "y")
    assert track.pin_changed_images(recipe, runs).compute_digest() == make_recipe(root).compute_digest()


def test_a_plan_trains_changed_images_anew(tmp_path: Path) -> None:
    """A sweep skips no run of other images, and skips those of the same."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    recipes = [make_recipe(root), make_recipe(root, "eca")]
    for recipe in recipes:
        finish(runs, recipe)
    assert plan_recipes("x", recipes, runs=runs).unfinished_runs == ()
    swap_classes(root)
    plan = plan_recipes("x", recipes, runs=runs)
    assert len(plan.unfinished_runs) == 2
    assert {run.digest for run in plan.runs}.isdisjoint(recipe.compute_digest() for recipe in recipes)
    assert [run.title for run in plan.runs] == ["none, resnet18, seed 0", "eca, resnet18, seed 0"]


def test_a_baseline_has_the_same_images(tmp_path: Path) -> None:
    """The plain run of the old images is no baseline of a variant on the new ones; that of the new ones is."""
    root, runs = folder(tmp_path / "x"), tmp_path / "runs"
    plain, variant = make_recipe(root), make_recipe(root, "eca")
    old = finish(runs, plain)
    swap_classes(root)
    result = finish(runs, variant, 0.5)
    assert track.find_finished_result(runs, variant.make_baseline(), result.data_digest) is None
    new = finish(runs, track.pin_changed_images(plain, runs), 0.25)
    for expected in (old, new):
        baseline = track.find_finished_result(runs, variant.make_baseline(), expected.data_digest)
        assert get_digests(baseline) == get_digests(expected)


def test_published_images_are_never_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are downloaded and checked by their sums are always the same; the digits were cut otherwise once."""
    assert not any(data.has_changeable_files(Data(name=name)) for name in ("cifar10", "imagenette"))
    changeable = (
        Data(name="folder", root="x"),
        Data(name="clips", of="parquet", root="x"),
        Data(name="imagenet"),
        Data(name="imagenette", root="x"),
        Data(name="hf", of="me/pets"),
    )
    assert all(data.has_changeable_files(section) for section in changeable)


@pytest.mark.parametrize("name", ["root/LOC_val_solution.csv", "root/devkit/data/labels.txt", "val.txt"])
def test_lists_of_labels_count(tmp_path: Path, name: str) -> None:
    """A list of labels beside or above a copy of ImageNet is part of its fingerprint, as its images are."""
    picture(tmp_path / "root/train/n01/0.png", seed=1)
    recipe = Data(name="imagenet", root=str(tmp_path / "root"))
    fingerprints = {digest_cache.fingerprint_files(recipe)}
    for text in ("0 n01", "0 n02 "):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        fingerprints.add(digest_cache.fingerprint_files(recipe))
    assert len(fingerprints) == 3


def test_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    """Folders are visited once, and a link without a target is a file like any other."""
    root = folder(tmp_path / "x")
    (root / "train/cat/back").symlink_to(root)
    (root / "train/cat/nowhere.png").symlink_to(root / "nothing")
    fingerprint = digest_cache.fingerprint_files(make_recipe(root).data)
    assert fingerprint is not None
    (root / "train/cat/nowhere.png").unlink()
    assert digest_cache.fingerprint_files(make_recipe(root).data) != fingerprint
