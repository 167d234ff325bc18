"""The summary that ends a run: accuracy, cost, files, and the next commands."""

import shlex
from pathlib import Path

from attncli import recipe as recipes
from attncli import records
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.records import Result, Speed
from attncli.runs import RunStore, list_store_options
from attncli.track import tags
from attncli.track.image_identity import find_finished_result
from attncli.track.tags import name_images

WIDE_INTERVAL = 0.1  # of a ratio of speeds: below, its interval is not worth the room
Interval = tuple[float, float]
WIDTH = 40  # characters; the purposes of commands up to this length stand in one column


def render_run_summary(result: Result, run_store: RunStore) -> str:
    """Return a finished run in a few lines, with the difference to its plain network if that run is finished too."""
    recipe = _read_result_recipe(result)
    plain = (
        find_finished_result(run_store.runs, recipe.make_baseline(), result.data_digest)
        if recipe and result.attn != "none"
        else None
    )
    baseline_name = f"plain {result.baseline}"
    lines = [
        f"{_name_run_network(result)} on {name_images(recipe) if recipe else result.dataset}, seed {result.seed}",
        f"  test top-1    {_format_percent(result.test_top1)}   macro F1 {_format_percent(result.test_macro_f1)}   "
        f"{_format_top5(result)}after {format_quantity(result.epochs, 'epoch')}, {result.seconds:.0f} s",
        *_list_nonfinite_lines(result),
        *_list_validation_lines(result),
        *_list_difference_lines(result, plain),
        f"  parameters    {_format_count(result.params, result.baseline_params, baseline_name)}",
        f"  MACs          {_format_count(result.macs, result.baseline_macs, baseline_name)}   "
        "(multiply-accumulates of one image)",
    ]
    if result.train_images_per_s is not None:
        is_baseline = result.attn == "none"  # whose ratio to itself is noise
        train_ratio = None if is_baseline else result.train_ratio
        infer_ratio = None if is_baseline else result.infer_ratio
        train_interval, infer_interval = _read_ratio_intervals(result)
        lines += [
            f"  training      {_format_speed(result.train_images_per_s, train_ratio, train_interval, baseline_name)}",
            f"  inference     {_format_speed(result.infer_images_per_s, infer_ratio, infer_interval, baseline_name)}",
        ]
    if "host" in (result.train_limit, result.infer_limit):
        lines.append("                the host was the limit and not the GPU: these are ratios of launches")
    lines += [
        f"  on            {result.device}, {result.precision}",
        f"  files         {result.folder}",
        "",
        *_list_next_steps(result, recipe, plain, run_store),
    ]
    return "\n".join(lines)


def _list_nonfinite_lines(result: Result) -> list[str]:
    """Return how many of the wrong images had no finite loss, if any."""
    if not result.test_nonfinite:
        return []
    return [f"                {records.describe_nonfinite(result.test_nonfinite, 'test image')}"]


def _list_validation_lines(result: Result) -> list[str]:
    """Return the accuracy on the validation part: settings chosen by the test images would be tested on them again."""
    if result.val_top1 is None:
        return []
    return [f"  validation    {_format_percent(result.val_top1)}   (choose settings by this one)"]


def _name_run_network(result: Result) -> str:
    is_whole_network = result.attn == result.backbone
    return (
        result.attn
        if is_whole_network
        else f"{result.backbone} + {result.attn}"
        if result.attn != "none"
        else result.backbone
    )


def _format_top5(result: Result) -> str:
    """Return the top-5 accuracy for the summary, "" for five classes or fewer, of which it is always 1."""
    return "" if result.test_top5 is None else f"top-5 {_format_percent(result.test_top5)}   "


def _format_percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _format_count(value: int | None, baseline: int | None, baseline_name: str) -> str:
    """Return a count and what it adds to the baseline."""
    if value is None or not baseline:
        return "-"
    added = value - baseline
    return (
        f"{value:,}"
        if not added
        else f"{value:,}   {added:+,} ({_format_share(added / baseline)}) over {baseline_name}"
    )


def _format_share(share: float) -> str:
    """Return a share in percent with as many digits as are needed to see it."""
    return f"{share:+.3%}" if abs(share) >= 5e-6 else f"{100 * share:+.1g}%"


def _read_ratio_intervals(result: Result) -> tuple[Interval | None, Interval | None]:
    """Return the 95 % intervals of the ratios of training and inference, None if the run did not record them."""
    speeds = [record for record in records.read(Path(result.folder)) if isinstance(record, Speed)]
    if not speeds:
        return None, None
    speed = speeds[-1]
    return (speed.train_ratio_low, speed.train_ratio_high), (speed.infer_ratio_low, speed.infer_ratio_high)


def _format_speed(
    images_per_s: float | None, ratio: float | None, interval: Interval | None, baseline_name: str
) -> str:
    """Return a speed and its ratio to the baseline's, with the interval of the ratio if that is wide."""
    rate = "-" if images_per_s is None else f"{images_per_s:,.0f} images/s"
    if ratio is None:
        return rate
    is_wide = interval is not None and interval[1] - interval[0] > WIDE_INTERVAL * ratio
    interval_text = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval is not None and is_wide else ""
    return f"{rate}   {ratio:.2f} x {baseline_name}{interval_text}"


def _read_result_recipe(result: Result) -> Recipe | None:
    """Return the run's recipe, or None if its folder is no longer there."""
    path = Path(result.folder) / "recipe.yaml"
    return recipes.read(path) if path.exists() else None


def _list_difference_lines(result: Result, plain: Result | None) -> list[str]:
    """Return the line with the difference to the plain network at this seed."""
    if plain is None or plain.test_top1 is None or result.test_top1 is None:
        return []
    points = 100 * (result.test_top1 - plain.test_top1)
    return [f"  difference    {points:+.2f} points to plain {plain.backbone}, {plain.test_top1:.2%}, at this one seed"]


def _list_next_steps(result: Result, recipe: Recipe | None, plain: Result | None, run_store: RunStore) -> list[str]:
    """Return the commands that are useful after this run."""
    store_options = "".join(f" {shlex.quote(word)}" for word in list_store_options(run_store))
    if recipe is None:
        return [f"Next: attncli compare{store_options}"]
    if result.attn == "none":
        next_recipe, purpose = _vary_recipe(recipe, attn="eca"), "a mechanism to compare it with"
    elif plain is None:
        next_recipe, purpose = recipe.make_baseline(), "the plain network to compare it with"
    else:
        next_recipe, purpose = _vary_recipe(recipe, seed=recipe.seed + 1), "another seed, for both: one decides nothing"
    steps = [
        (tags.format_run_command(next_recipe) + store_options, purpose),
        (f"attncli compare{store_options}", "all runs side by side"),
        (f"attncli look {shlex.quote(tags.format_run_name(recipe))}{store_options}", "what it looks at in images"),
        (f"attncli ui{store_options}", "the dashboard"),
    ]
    width = max((len(step) for step, _ in steps if len(step) <= WIDTH), default=0)
    return ["Next:", *(f"  {step:{width}}  # {purpose}" for step, purpose in steps)]


def _vary_recipe(recipe: Recipe, *, attn: str | None = None, seed: int | None = None) -> Recipe:
    """Return the recipe with another mechanism at its defaults, or with another seed."""
    if attn is not None:
        return recipe.model_copy(update={"model": recipe.make_baseline().model.model_copy(update={"attn": attn})})
    return recipe.model_copy(update={"seed": seed})
