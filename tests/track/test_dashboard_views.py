"""The dashboard's views: what they show fits, is in percent, and is written for runs of earlier versions too."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attncli import records
from attncli.palette import COLOURS, PALE, PLAIN
from attncli.track import RunStore, Tracker, dashboard, experiment_views
from attncli.track.dashboard import COLOUR_TAG, choose_run_colours
from attncli.track.tags import build_figure_tags
from tests.analysis.case import BASELINE, finished
from tests.track import recorded_runs

BESIDE_THE_ASSISTANT = 460  # pixels for columns in a window of 1500, beside name, date and MLflow's assistant


def test_figures_are_written_with_their_units() -> None:
    """Percent, overheads with their sign, a true zero as 0; what was not measured is left out."""
    result = finished("eca", 0, 0.8115, params=BASELINE * 1.0001, macs=BASELINE, train_ratio=0.676).result
    assert build_figure_tags(result) == {"top-1": "81.15 %", "params": "+0.010 %", "MACs": "0", "speed": "0.68 x"}
    large = replace(result, params=result.baseline_params * 4, macs=result.baseline_macs * 1.996)
    assert [build_figure_tags(large)[name] for name in ("params", "MACs")] == ["+300.0 %", "+99.6 %"]
    assert build_figure_tags(finished("none", 0, 0.5).result) == {"top-1": "50.00 %"}
    assert build_figure_tags(replace(result, test_top1=None)) == {}
    assert build_figure_tags(None) == {}


def test_a_mechanism_has_one_colour() -> None:
    """By order of appearance, the plain network grey, those beyond six pale; all differ from white and from black."""
    colours = choose_run_colours(["eca", "none", "se", "eca", *(f"m{i}" for i in range(6))])
    assert (colours["none"], colours["eca"], colours["se"]) == (PLAIN, *COLOURS[:2])
    assert [colours[f"m{i}"] for i in range(6)] == [*COLOURS[2:], PALE, PALE]
    brightness = [sum(bytes.fromhex(colour[1:])) / 765 for colour in colours.values()]
    assert min(brightness) > 0.25
    assert max(brightness) < 0.75


def test_the_views_fit_and_show_runs_only() -> None:
    """All columns have room; runs without a digest are filtered out; charts show percent, two in a row."""
    views = {key: json.loads(value) for key, value in experiment_views.build_view_tags().items()}
    assert len(views) == 2
    for state in views.values():
        assert sum(state["columnWidths"].values()) <= BESIDE_THE_ASSISTANT
        assert "digest" in state["searchFilter"]
        assert state["orderByKey"] == "metrics.`val/top1`"  # the first row is not chosen by test images
    charts = views[experiment_views.VIEW_TAG_PREFIX + experiment_views.CHARTS_VIEW]
    assert charts["compareRunSections"][0]["columns"] == 2
    accuracies = [chart[axis]["key"] for chart in charts["compareRunCharts"] for axis in ("yaxis",) if axis in chart]
    accuracies += [chart["metricKey"] for chart in charts["compareRunCharts"] if "top1" in chart.get("metricKey", "")]
    assert {key.rpartition("_")[2] for key in accuracies} == {"pct"}


def test_no_chart_is_empty(tmp_path: Path) -> None:
    """Speeds have charts as soon as a run has one; a view that somebody changed stays."""
    from mlflow import MlflowClient

    store, key = RunStore(tmp_path), experiment_views.VIEW_TAG_PREFIX + experiment_views.CHARTS_VIEW
    tracker = Tracker.open(store)
    client = MlflowClient(tracker.uri)
    found = []
    for seed, records_ in enumerate((recorded_runs.WHOLE[:-1], recorded_runs.WHOLE)):
        run_id = recorded_runs.run(tracker, tmp_path, recorded_runs.recipe(seed=seed), records_)
        dashboard.prepare_views(store)
        experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
        charts = json.loads(experiment.tags[key])["compareRunCharts"]
        found.append(len([chart for chart in charts if chart["uuid"].endswith("speed/train_ratio")]))
    assert found == [0, 2]
    client.set_experiment_tag(experiment.experiment_id, key, "mine")
    dashboard.prepare_views(store)
    assert client.get_experiment(experiment.experiment_id).tags[key] == "mine"


def test_runs_of_earlier_versions_get_what_the_views_show(runs: Path, tracker: Tracker, client) -> None:
    """Figures, percent, a colour and the views are added once; what is there stays."""
    recipe = recorded_runs.recipe(attn="eca", seed=17)
    run_id = recorded_runs.run(tracker, runs, recipe)
    result = replace(finished("eca", 17, 0.75, params=BASELINE * 1.1).result, digest=recipe.compute_digest())
    (runs / recipe.compute_digest() / records.RESULT).write_text(json.dumps(asdict(result)))
    client.set_tag(run_id, "params", "mine")
    dashboard.prepare_views(RunStore(runs))
    run = client.get_run(run_id)
    assert run.data.tags["top-1"] == "75.00 %"
    assert run.data.tags["params"] == "mine"
    assert run.data.tags[COLOUR_TAG] in (*COLOURS, PALE)
    assert run.data.metrics["test/top1_pct"] == pytest.approx(75.0)
    assert [m.value for m in client.get_metric_history(run_id, "val/top1_pct")] == [50.0, 50.0]
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment_views.build_view_tags().keys() <= experiment.tags.keys()
    dashboard.prepare_views(RunStore(runs))
    assert client.get_run(run_id).data.tags == run.data.tags
