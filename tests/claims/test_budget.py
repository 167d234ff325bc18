"""A verdict says on how little it rests."""

import dataclasses

import pytest

from attncli.analysis.count_cache import CountCache
from attncli.claims import claim_files, judge
from attncli.claims.budget import Budget, compute_budget, find_claimed_epochs
from attncli.claims.evidence import Evidence
from attncli.claims.next_step import describe_unused_runs
from attncli.claims.throughput import SpeedStore
from attncli.report.claims import format_verdict_figures
from attncli.runs import RunStore, read_finished_runs, read_folder_runs
from tests.claims.case import claims_file, pairs, run
from tests.claims.test_judge import BETTER, ECA, PLAIN, PLAINS, verdict

SHORT = {"data__name": "cifar10", "data__per_class": 270, "train__epochs": 2}


def test_a_short_schedule_on_a_part_of_the_images_is_marked(tmp_path):
    """Two of 164 epochs on 2,700 of 50,000 images: two labels, so a star, whatever the verdict."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS, **SHORT)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}", on="cifar10")
    assert found.outcome != "untested"
    assert found.budget.describe() == "2 of 164 epochs, 2,700 of 50,000 images"
    assert len(found.labels) == 2
    assert format_verdict_figures(found).endswith("; 2 of 164 epochs; 5.4 % of the images")
    values = found.to_json_dict()
    assert (values["budget"], values["image_share"]) == (found.budget.describe(), 2700 / 50_000)
    long = dataclasses.replace(found, budget=dataclasses.replace(found.budget, epochs=1500, claimed_epochs=2000))
    assert format_verdict_figures(long).endswith("; 1,500 of 2,000 epochs; 5.4 % of the images")


def test_the_budget_is_that_of_the_shortest_run(tmp_path):
    """Neither the longest run nor the first stands for all."""
    for seed, epochs in enumerate((8, 2, 164)):
        run(tmp_path, attn="none", seed=seed, top1=0.9, data__name="cifar10", train__epochs=epochs)
    (claim,) = claim_files.read_claim_files([claims_file(tmp_path, f"{ECA} > {PLAIN}", on="cifar10")])
    budget = compute_budget(claim, list(read_folder_runs(tmp_path)))
    assert budget is not None
    assert (budget.epochs, budget.claimed_epochs) == (2, 164)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"data__name": "cifar10", "train__epochs": 164}, "164 of 164 epochs, 50,000 of 50,000 images"),
        (SHORT, "2 of 164 epochs, 2,700 of 50,000 images"),
        (
            {"data__name": "mnist", "data__fraction": 0.5, "train__epochs": 164},
            "164 of 164 epochs, 30,000 of 60,000 images",
        ),
    ],
)
def test_on_another_dataset_the_budget_is_that_of_the_dataset(tmp_path, keys, words):
    """All images of CIFAR-10 are no part of ImageNet; a part of them is one of CIFAR-10."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS, **keys)
    found = verdict(tmp_path, "top1(resnet50 + eca) > top1(resnet50)", on="imagenet", backbone="resnet20")
    assert found.budget.describe() == words
    assert found.budget.is_part is (found.budget.images < found.budget.claimed_images)


def test_the_whole_schedule_is_not_marked(tmp_path):
    """All epochs and images of the claim: no label."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS, data__name="cifar10", train__epochs=164)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}", on="cifar10")
    assert (found.budget.describe(), found.labels) == ("164 of 164 epochs, 50,000 of 50,000 images", ())
    assert format_verdict_figures(found).endswith("; 164 of 164 epochs")


def test_more_seeds_go_on_with_the_users_own_recipe(tmp_path):
    """An undecided verdict asks for seeds of the very recipe that its runs had."""
    pairs(tmp_path / "runs", "eca", [0.9, 0.8, 0.85], [0.85, 0.82, 0.84], **SHORT)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}", on="cifar10")
    assert found.outcome == "undecided"
    recipe = found.command.partition("--recipe ")[2].split()[0]
    assert recipe.endswith("/recipe.yaml")
    assert recipe.split("/")[-2] in found.parts[0].digests


def test_runs_that_no_claim_uses_are_offered(tmp_path):
    """Those of another network and of the user's folder, with the options that use them; none when they are used."""
    folder = {"data__name": "folder", "data__root": "/images/mini"}
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS, **folder)
    known = claim_files.read_claim_files(
        [claims_file(tmp_path, "top1(resnet50 + eca) > top1(resnet50)", on="imagenet")]
    )
    runs = read_finished_runs(RunStore(tmp_path / "runs", None))
    unused = Evidence(CountCache(), SpeedStore(tmp_path / "runs"), runs)
    (text,) = describe_unused_runs(judge.judge_claims(known, unused), unused)
    assert "8 finished runs of resnet20 on mini" in text
    assert "--backbone resnet20 --folder-is NAME" in text
    used = dataclasses.replace(unused, backbone="resnet20")
    assert describe_unused_runs(judge.judge_claims(known, used), used) == []


@pytest.mark.parametrize(
    ("check", "on", "epochs"),
    [
        ("top1(resnet20) > 0", "cifar10", 164),
        ("top1(resnet50) > 0", "imagenet", 100),
        ("top1(mobilenet_v2) > 0", "imagenet", 150),
        ("top1(resnet50) > 0", "cityscapes", None),
        ("params(resnet20) > 0", "cifar10", None),
    ],
)
def test_the_claims_epochs_are_those_of_its_schedule(tmp_path, check, on, epochs):
    """None if attncli has no schedule for it."""
    (claim,) = claim_files.read_claim_files([claims_file(tmp_path, check, on=on)])
    assert find_claimed_epochs(claim) == epochs


def test_four_fifths_are_enough():
    """A run that holds out a tenth for validation, or stops a little early, is not marked."""
    near = Budget(epochs=80, claimed_epochs=100, images=45_000, claimed_images=50_000)
    assert near.labels == ()
    unknown = Budget(epochs=5, claimed_epochs=None, images=None, claimed_images=None)
    assert (unknown.labels, unknown.describe()) == ((), "5 epochs")
