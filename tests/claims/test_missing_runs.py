"""What claims lack is trained by the right recipe, seed by seed."""

import pytest

from attncli.claims import claim_files, missing_runs
from attncli.errors import UserError
from tests.claims.case import claims_file

CHECK = "top1(resnet20 + eca[k=3]) > top1(resnet20 + se) > top1(resnet20)"


def recipes(folder, *checks, seeds=(0, 1), on=None, **keys):
    """What to train for these checks."""
    known = claim_files.read_claim_files([claims_file(folder, *checks, **({"on": on} if on else {}))])
    return missing_runs.make_claim_recipes(known, seeds=seeds, **keys)


def test_each_network_once_a_seed(tmp_path):
    """Three networks, two seeds, two claims that share them: six runs, whole pairs first."""
    found = recipes(tmp_path, CHECK, CHECK.replace(">", "<"), on="digits")
    assert [(r.model.attn, r.seed) for r in found] == [(a, s) for s in (0, 1) for a in ("eca", "se", "none")]
    assert found[0].model.options == {"k": 3}
    assert {r.data.name for r in found} == {"digits"}


def test_the_recipe_is_the_claims_the_usual_or_the_one_given(tmp_path, monkeypatch):
    """recipes/DATASET-BACKBONE.yaml where there is one; its own mechanism gives way; values and overrides win."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "digits-resnet20.yaml").write_text("train: {epochs: 7}\nmodel: {attn: se, site: mid}\n")
    (tmp_path / "recipes" / "own.yaml").write_text("train: {epochs: 8}\ndata: {name: digits}\n")
    (first, *_) = recipes(tmp_path, "top1(resnet20) > 0", on="digits")
    assert (first.train.epochs, first.model.attn, first.model.site) == (7, "none", None)
    (named, *_) = recipes(tmp_path, "top1(resnet20, recipe=own) > 0", on="digits")
    assert named.train.epochs == 8
    given = recipes(
        tmp_path,
        "top1(resnet20) > 0",
        on="imagenet",
        path=tmp_path / "recipes" / "own.yaml",
        overrides=["train.lr=0.5"],
    )
    assert (given[0].train.epochs, given[0].train.lr, given[0].data.name) == (8, 0.5, "digits")


def test_another_network_and_dataset(tmp_path):
    """What is claimed of a large network can be trained small."""
    check = "top1(resnet50 + eca) > top1(resnet50)"
    found = recipes(tmp_path, check, on="imagenet", backbone="resnet20", values={"data.name": "digits"})
    assert {(r.model.backbone, r.data.name) for r in found} == {("resnet20", "digits")}


def test_what_cannot_be_trained_is_told(tmp_path):
    """A claim that needs no runs, and a dataset that attncli does not have."""
    with pytest.raises(UserError, match="c0: no run tests this claim"):
        recipes(tmp_path, "params(resnet20) > 0")
    with pytest.raises(UserError, match="cannot get 'mars'") as error:
        recipes(tmp_path, "top1(resnet20) > 0", on="mars")
    assert "folder" in error.value.hint
