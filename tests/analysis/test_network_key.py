"""Keys of networks and protocols: what they leave out, and what parts two runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from attncli import validation
from attncli.analysis.network_key import index_runs, make_network_key
from attncli.claims import networks
from attncli.claims.language import iterate_quantities, parse_claim
from tests.analysis.case import finished
from tests.commands import plugins


def test_a_run_has_the_key_of_the_network_that_a_claim_names():
    """eca[k=3] of a claim and a run with that option are one network."""
    (quantity,) = iterate_quantities(parse_claim("top1(resnet18 + eca[k=3]) > 0"))
    run = finished("eca", model__options={"k": 3})
    assert make_network_key(run.recipe.model) == make_network_key(networks.make_recipe(quantity.network).model)


def test_runs_of_one_protocol_differ_in_network_and_seed_alone():
    """Other epochs or other images are another protocol; other timing and another folder of images are not."""
    runs = [
        finished("none", 0),
        finished("none", 1, measure__repeats=9, data__root="x"),
        finished("none", 2, train__epochs=3),
        finished("none", 3, data="e" * 64),
        finished("eca", 0),
    ]
    index = index_runs(runs)
    plain, eca = index.values()
    assert [[run.recipe.seed for run in group] for group in plain.values()] == [[0, 1], [2], [3]]
    assert eca.keys() < plain.keys()


def test_what_cannot_be_compared_is_left_out():
    """Runs without a test accuracy, and runs of a user's mechanism whose file is gone."""
    run = finished("eca")
    model = run.recipe.model.model_copy(update={"attn": "nowhere/gone.py"})
    gone = replace(run, recipe=run.recipe.model_copy(update={"model": model}))
    assert index_runs([finished("eca", 0, None), gone]) == {}


@pytest.mark.parametrize("key", ["attn", "pretrained"])
def test_runs_of_a_file_that_has_changed_are_left_out(key, tmp_path):
    """A mechanism's file and a file of weights mean another network after a change, so that claims do not pair it."""
    path = Path(plugins.write(tmp_path / "mine.py"))
    recipe = validation.read(values={f"model.{key}": str(path)})
    run = finished("eca")
    run = replace(run, recipe=recipe, result=replace(run.result, digest=recipe.compute_digest()))
    assert index_runs([run]) != {}
    path.write_text(path.read_text() + "# more")
    assert index_runs([run]) == {}
