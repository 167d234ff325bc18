"""What a reader of the dashboard sees first: an experiment's question, and views with the columns that answer it.

A view is the state that MLflow's button "Share" stores in an experiment's tag; `?viewStateShareKey=KEY` opens it.
"""

import json
import shlex
from typing import Any

from attncli.recipe import Recipe
from attncli.track import tags

VIEW_TAG_PREFIX = "mlflow.sharedViewState."
TABLE_VIEW, CHARTS_VIEW = "attncli-table", "attncli-graphs"  # the keys of the views; other keys were earlier views
SPEED = "speed/train_ratio"
RUNS_ONLY = "tags.digest LIKE '%'"  # not the runs that hold a sweep, a comparison or a report
COLUMN_WIDTHS = {"attn": 80, "seed": 50, "top-1": 70, "params": 90, "MACs": 90, "speed": 65}  # pixels, by tag
# Beside MLflow's assistant, which opens by itself, a window of 1500 px has room for no more.


def build_view_tags(*, has_speeds: bool = True) -> dict[str, str]:
    """Return the tags of an experiment that hold its views: the runs as a table, and as charts.

    Without speeds of any run there are no charts of them, which would be empty.
    """
    widths = {f"tags.`{name}`": width for name, width in COLUMN_WIDTHS.items()}
    state = {
        "searchFilter": RUNS_ONLY,
        "orderByKey": "metrics.`val/top1`",  # whoever picks the first row has not picked by the test images
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(widths),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    return {
        VIEW_TAG_PREFIX + TABLE_VIEW: json.dumps(state),
        VIEW_TAG_PREFIX + CHARTS_VIEW: json.dumps(
            state | {"compareRunCharts": _build_charts(has_speeds), "compareRunSections": [_build_chart_section()]}
        ),
    }


def _build_chart_section() -> dict[str, Any]:
    return {
        "uuid": "attncli",
        "name": "Accuracy and what it costs",
        "display": True,
        "isReordered": False,
        "columns": 2,
        "cardHeight": 340,
    }


def _build_charts(has_speeds: bool) -> list[dict[str, Any]]:
    """Return the charts: accuracy as bars, over the epochs and against each overhead; the loss; the speed."""
    common = {"deleted": False, "isGenerated": False, "metricSectionId": "attncli"}
    accuracy = {"key": "test/top1_pct", "type": "METRIC"}
    bars = [
        {**common, "uuid": f"bar-{key}", "type": "BAR", "runsCountToCompare": 50, "metricKey": key}
        for key in ("test/top1_pct", SPEED)
    ]
    lines = [
        {
            **common,
            "uuid": f"line-{key}",
            "type": "LINE",
            "runsCountToCompare": 20,
            "metricKey": key,
            "selectedMetricKeys": [key],
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
        }
        for key in ("val/top1_pct", "train/loss")
    ]
    scatters = [
        {
            **common,
            "uuid": f"scatter-{key}",
            "type": "SCATTER",
            "runsCountToCompare": 200,
            "xaxis": {"key": key, "type": "METRIC"},
            "yaxis": accuracy,
        }
        for key in ("overhead/params_pct", "overhead/macs_pct", SPEED)
    ]
    charts = [bars[0], *scatters, *lines, bars[1]]
    return charts if has_speeds else [chart for chart in charts if not str(chart["uuid"]).endswith(SPEED)]


def build_experiment_tags(recipe: Recipe) -> dict[str, str]:
    """Return the tags of the experiment that a recipe's runs are in: its description in Markdown, and its views."""
    return {"mlflow.note.content": format_experiment_note(recipe), **build_view_tags()}


def format_experiment_note(recipe: Recipe) -> str:
    """Return Markdown that says what question an experiment asks, what its figures mean and how to answer it."""
    network, images = recipe.model.backbone_label, tags.name_images(recipe)
    return "\n".join(
        [
            f"**What do attention mechanisms do for {network} on {images}, and what do they cost?**",
            "",
            "Each run trains one network; runs of one seed share the backbone's weights, the order of the images, "
            "crops and flips, so that they differ in the mechanism alone. Runs with `attn` none are what the others "
            "are compared with.",
            "",
            "| figure | meaning |",
            "|---|---|",
            "| `top-1`, `test/top1_pct` | percent of the test images classified correctly, measured once, at the end |",
            "| `params`, `MACs`, `overhead/params_pct`, `overhead/macs_pct` "
            "| what the mechanism adds to the plain network, in percent |",
            "| `speed`, `speed/train_ratio` "
            "| images/s of training over the plain network's, timed in turn; below 1: slower |",
            "",
            "One seed cannot tell an effect from chance. Paired over seeds, with intervals:",
            "",
            "```",
            format_compare_command(images, network),
            "```",
            "",
            "The run *comparison* holds the plots of accuracy against overhead; a run's page has its learning curves, "
            "confusion matrix, accuracy by class and, after `attncli look NAME`, what its attention does to images.",
        ]
    )


def format_sweep_note(name: str, recipe: Recipe) -> str:
    """Return Markdown that says what a sweep's parent run is, how to resume the sweep and how to compare its runs."""
    network, images = recipe.model.backbone_label, tags.name_images(recipe)
    return "\n".join(
        [
            f"**Sweep `{name}`**: its runs with {network} on {images} are nested below.",
            "",
            "Its command, called again, resumes it; with more seeds or mechanisms it extends it. Finished runs are not "
            "run again. To compare its runs with all others of these images and this network:",
            "",
            "```",
            format_compare_command(images, network),
            "```",
        ]
    )


def format_compare_command(images: str, network: str) -> str:
    """Return the command that compares the runs with a network on some images."""
    return shlex.join(["attncli", "compare", "--dataset", images, "--backbone", network])
