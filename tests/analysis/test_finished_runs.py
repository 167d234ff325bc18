"""Finished runs from folders and from MLflow are the same runs; what is broken is passed over."""

import pytest

from attncli import track
from attncli.analysis import finished_runs, results
from attncli.analysis.compare import compare_variants
from attncli.claims import networks
from attncli.claims.language import iterate_quantities, parse_claim
from attncli.track.tags import flatten_params
from tests.claims.case import pairs, run


def test_a_folder_is_read(tmp_path):
    """Network, protocol, seed, accuracies and where they are from."""
    recipe = run(tmp_path, attn="eca", seed=3, top1=0.5, model__options={"k": 3})
    (found,) = finished_runs.read_finished_runs(tmp_path)
    assert (found.digest, found.run_id, found.seed, found.top1) == (recipe.compute_digest(), "id-eca-3", 3, 0.5)
    (quantity,) = iterate_quantities(parse_claim("top1(resnet20 + eca[k=3]) > 0"))
    assert found.network == networks.make_network_key(networks.make_recipe(quantity.network).model)
    assert found.folder == str(tmp_path / recipe.compute_digest())


def test_runs_of_one_protocol_differ_in_network_and_seed_alone(tmp_path):
    """Other epochs or other images are another protocol; other timing and another folder of images are not."""
    run(tmp_path, attn="eca", seed=0, top1=0.5)
    run(tmp_path, attn="none", seed=1, top1=0.5, model__backbone="resnet56", measure__repeats=9, data__root="x")
    run(tmp_path, attn="none", seed=2, top1=0.5, train__epochs=3)
    run(tmp_path, attn="none", seed=3, top1=0.5, data_digest="e" * 64)
    by_seed = {r.seed: r.protocol for r in finished_runs.read_finished_runs(tmp_path)}
    assert by_seed[0] == by_seed[1]
    assert len(set(by_seed.values())) == 3


def test_broken_folders_are_passed_over(tmp_path):
    """A result without its recipe, half a result, a recipe of another version."""
    for seed, (name, text) in enumerate([("recipe.yaml", "no: recipe"), ("result.json", "{"), ("recipe.yaml", "[")]):
        recipe = run(tmp_path, attn="eca", seed=seed, top1=0.5)
        (tmp_path / recipe.compute_digest() / name).write_text(text)
    assert finished_runs.read_finished_runs(tmp_path) == []
    assert results.read_result_rows(tmp_path) == []


def test_mlflow_gives_the_same_runs(tmp_path, monkeypatch):
    """A run of a store has the network and the protocol of the same run in a folder, and counts once."""
    here, there = tmp_path / "here", tmp_path / "there"
    recipe = run(there, attn="eca", seed=0, top1=0.5, model__options={"k": [3, 5, 7]}, model__stages=[1, -1])
    row = {
        "digest": recipe.compute_digest(), "run_id": "r", "data_digest": "d" * 64, "params": flatten_params(recipe),
        "metrics": {"test/top1": 0.5, "test/top5": 0.9},
    }  # fmt: skip
    monkeypatch.setattr(track, "list_run_rows", lambda uri, runs, **_: [row, {**row, "digest": "x", "metrics": {}}])
    (ours,) = finished_runs.read_finished_runs(there)
    (theirs,) = finished_runs.read_finished_runs(here, "http://store")
    assert (theirs.network, theirs.protocol, theirs.seed) == (ours.network, ours.protocol, ours.seed)
    assert len(finished_runs.read_finished_runs(there, "http://store")) == 1


def test_results_are_what_compare_takes(tmp_path):
    """Rows made of folders compare as those of MLflow do."""
    pairs(tmp_path, "eca", [0.91, 0.92, 0.90], [0.90, 0.905, 0.893])
    rows = compare_variants(results.read_result_rows(tmp_path))
    assert (rows[0].attn, rows[0].n, rows[0].verdict) == ("none", 3, "baseline")
    assert rows[1].diff == pytest.approx(0.0107, abs=1e-4)
    assert rows[1].params_pct == 0.0
