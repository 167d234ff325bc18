"""What claims lack is trained by the right recipe, seed by seed."""

import shlex
from pathlib import Path

import pytest

from attncli import validation
from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import ImageSpec, make_protocol_key
from attncli.claims import claim_files, judge, missing_runs
from attncli.claims.evidence import Evidence
from attncli.claims.language import ACCURACY, iterate_quantities, parse_claim
from attncli.claims.networks import resolve_images
from attncli.claims.next_step import suggest_training
from attncli.claims.throughput import SpeedStore
from attncli.claims.verdict import TrainedOutcome
from attncli.data import DATASETS
from attncli.errors import UserError
from attncli.recipe import Recipe, library
from attncli.records import Result
from attncli.runs import FinishedRun
from tests.claims.case import claims_file

CHECK = "top1(resnet20 + eca[k=3]) > top1(resnet20 + se) > top1(resnet20)"


def recipes(folder, *checks, seeds=(0, 1), on=None, **keys):
    """What to train for these checks."""
    known = claim_files.read_claim_files([claims_file(folder, *checks, **({"on": on} if on else {}))])
    return missing_runs.make_claim_recipes(missing_runs.plan_claim_trainings(known, seeds=seeds, **keys))


def test_each_network_once_a_seed(tmp_path):
    """Three networks, two seeds, two claims that share them: six runs, whole pairs first."""
    found = recipes(tmp_path, CHECK, CHECK.replace(">", "<"), on="digits")
    assert [(r.model.attn, r.seed) for r in found] == [(a, s) for s in (0, 1) for a in ("eca", "se", "none")]
    assert found[0].model.options == {"k": 3}
    assert {r.data.name for r in found} == {"digits"}


def test_the_recipe_is_the_claims_the_usual_or_the_one_given(tmp_path, monkeypatch):
    """A recipe of the usual name in recipes/ goes first; its own mechanism gives way; values and overrides win."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.yaml").write_text("train: {epochs: 7}\nmodel: {attn: se, site: mid}\n")
    (tmp_path / "recipes" / "own.yaml").write_text("train: {epochs: 8}\ndata: {name: digits}\n")
    (first, *_) = recipes(tmp_path, "top1(resnet20) > 0", on="digits")
    assert (first.train.epochs, first.model.attn, first.model.site) == (7, "none", None)
    (named, *_) = recipes(tmp_path, "top1(resnet20, recipe=own) > 0", on="digits")
    assert named.train.epochs == 8
    both = recipes(tmp_path, "top1(resnet20 + eca, recipe=own) > top1(resnet20)", on="digits", seeds=(0,))
    assert [one.train.epochs for one in both] == [8, 8]  # a pair, whichever figure names the recipe
    given = recipes(
        tmp_path,
        "top1(resnet20) > 0",
        on="imagenet",
        path=tmp_path / "recipes" / "own.yaml",
        overrides=["train.lr=0.5"],
    )
    assert (given[0].train.epochs, given[0].train.lr, given[0].data.name) == (8, 0.5, "digits")


@pytest.mark.parametrize(
    ("check", "on", "fast", "epochs", "side"),
    [
        ("top1(resnet20) > 0", "cifar100", False, 164, None),
        ("top1(resnet20) > 0", "cifar100", True, 10, None),
        ("top1(resnet50) > 0", "imagenet", False, 100, 224),
        ("top1(mobilenet_v2) > 0", "imagenet", False, 150, 224),
        ("top1(mobilenet_v2) > 0", "imagenet", True, 16, 128),
    ],
)
def test_schedules_suit_dataset_and_network(tmp_path, check, on, fast, epochs, side):
    """Those of papers, or a short one on request, on the claim's own dataset."""
    (recipe,) = recipes(tmp_path, check, on=on, seeds=(0,), fast=fast)
    assert (recipe.data.name, recipe.train.epochs, recipe.data.image_size) == (on, epochs, side)


def test_a_figure_alone_is_trained_beside_the_plain_network(tmp_path):
    """If an accuracy of that network is published for the dataset: it shows that the recipe trains."""
    check = "top1(resnet20 + highway[gate_bias=0]) < 80 %"
    attns = {
        on: [recipe.model.attn for recipe in recipes(tmp_path, check, on=on, seeds=(0,))]
        for on in ("cifar10", "digits")
    }
    assert attns == {"cifar10": ["highway", "none"], "digits": ["highway"]}
    relative = check.replace("< 80 %", "> top1(resnet20 + se) - 1 %")
    assert [recipe.model.attn for recipe in recipes(tmp_path, relative, on="cifar10", seeds=(0,))] == ["highway", "se"]


@pytest.mark.parametrize("network", ["preactresnet20", "preactresnet110", "wide_resnet28_10", "resnet110"])
def test_networks_for_small_images_are_trained_and_counted_on_them(tmp_path, network):
    """A claim that names no dataset is about 32 px, tested on CIFAR-10 and on own images by the schedule of CIFAR."""
    check = f"top1({network} + eca) > top1({network})"
    known = claim_files.read_claim_files([claims_file(tmp_path, check)])
    (found,) = judge.judge_claims(known, Evidence(CountCache(), SpeedStore(Path("runs"))))
    assert found.command.endswith("--dataset cifar10")
    (recipe, _) = recipes(tmp_path, check, seeds=(0,), values={"data.name": "folder", "data.root": "/images"})
    assert recipe.train.epochs == 164
    (quantity, *_) = iterate_quantities(parse_claim(f"macs({network} + eca) > 1"))
    assert resolve_images(quantity, None, None) == ImageSpec(32, 10, None)


def test_networks_and_datasets_of_one_claim_share_a_recipe(tmp_path):
    """Two networks of one comparison pair seed by seed; two datasets keep one schedule, also with a recipe given."""
    two_networks = recipes(tmp_path, "top1(resnet20 + se) < top1(resnet56)", on="cifar10", seeds=(0,))
    assert len({make_protocol_key(recipe, "", {}) for recipe in two_networks}) == 1
    two_datasets = "top1(resnet20, dataset=cifar10) > 0 and top1(resnet20, dataset=cifar100) > 0"
    for path in (None, library.find_recipe_file(Path("cifar10-resnet20"))):
        found = recipes(tmp_path, two_datasets, on="cifar10", seeds=(0,), path=path)
        assert [recipe.data.name for recipe in found] == ["cifar10", "cifar100"]
        assert found[0].train == found[1].train


def list_trained_claims() -> list:
    """The claims of the literature that runs can test."""
    return [
        c for c in claim_files.load_claims() if c.tree and any(q.name in ACCURACY for q in iterate_quantities(c.tree))
    ]


def test_every_command_of_the_literature_plans_runs_that_test_the_claim(monkeypatch):
    """The command printed for an untested claim is accepted, and once its runs are finished no part is untested."""
    monkeypatch.setattr(CountCache, "get_count", lambda *_: 1)
    evidence = Evidence(CountCache(), SpeedStore(Path("runs")))
    verdicts = judge.judge_claims(list_trained_claims(), evidence)
    assert len(verdicts) > 80
    for verdict in verdicts:
        words = shlex.split(suggest_training(verdict.claim, verdict.claim.tree, None, verdict.parts, evidence))
        assert verdict.command in (shlex.join(words), None)  # None: what is counted decides it
        assert words[:4] == ["attncli", "claims", "run", verdict.claim.id]
        options = dict(zip(words[4::2], words[5::2], strict=True))
        assert set(options) <= {"--dataset", "--data-root"}
        values = {"data.name": options["--dataset"]} if "--dataset" in options else {}
        trainings = missing_runs.plan_claim_trainings([verdict.claim], seeds=(0,), values=values)
        planned = missing_runs.make_claim_recipes(trainings)
        for recipe in planned:
            validation.check_image_size(recipe)
            assert recipe.data.name in DATASETS
        finished = Evidence(CountCache(), SpeedStore(Path("runs")), [make_finished(recipe) for recipe in planned])
        (again,) = judge.judge_claims([verdict.claim], finished)
        outcomes = {part.outcome for part in again.parts if isinstance(part, TrainedOutcome)}
        assert "untested" not in outcomes, (verdict.claim.id, again.why)


def make_finished(recipe: Recipe) -> FinishedRun:
    """A finished run of a recipe, out of nothing."""
    result = Result(
        digest=recipe.compute_digest(), run_id=None, status="FINISHED", attn=recipe.model.attn, category="",
        backbone=recipe.model.backbone, dataset=recipe.data.name, seed=recipe.seed, epochs=recipe.train.epochs,
        test_top1=0.5, test_top5=0.9, test_loss=1.0, val_top1=None, best_val_top1=None, baseline="", params=1,
        baseline_params=1, macs=1, baseline_macs=1, train_images_per_s=None, infer_images_per_s=None, train_ratio=None,
        infer_ratio=None, seconds=1.0, precision="fp32", device="cpu", machine={}, group="", data_digest="d", folder="",
    )  # fmt: skip
    return FinishedRun(recipe=recipe, result=result, dataset=recipe.data.name, experiment="", folder=None)


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
