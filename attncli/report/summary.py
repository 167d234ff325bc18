"""The card that ends a run: what was reached, what it cost, where it lies, what to do next."""

import shlex
from pathlib import Path

from attncli import recipe as recipes
from attncli.recipe import Recipe
from attncli.records import Result
from attncli.track import describe
from attncli.track.origin import finished

WIDTH = 40  # characters of a command up to which what it is for stands in one column


def summary(result: Result, runs: Path) -> str:
    """A finished run in a few lines of plain text; beside its plain network's, where that run is finished too."""
    recipe = _recipe(result)
    plain = finished(runs / recipe.baseline().digest()) if recipe and result.attn != "none" else None
    over = f"plain {result.baseline}"
    lines = [
        f"{_network(result)} on {result.dataset}, seed {result.seed}",
        f"  test top-1    {_percent(result.test_top1)}   top-5 {_percent(result.test_top5)}   "
        f"after {result.epochs} epochs, {result.seconds:.0f} s",
        *_against(result, plain),
        f"  parameters    {_over(result.params, result.baseline_params, over)}",
        f"  MACs          {_over(result.macs, result.baseline_macs, over)}   (multiply-accumulates of one image)",
    ]
    if result.train_images_per_s is not None:
        itself = result.attn == "none"  # whose ratio to itself is noise
        lines += [
            f"  training      {_speed(result.train_images_per_s, None if itself else result.train_ratio, over)}",
            f"  inference     {_speed(result.infer_images_per_s, None if itself else result.infer_ratio, over)}",
        ]
    lines += [
        f"  on            {result.device}, {result.precision}",
        f"  files         {result.folder}",
        "",
        *_next(result, recipe, plain, runs),
    ]
    return "\n".join(lines)


def _network(result: Result) -> str:
    whole = result.attn == result.backbone
    return result.attn if whole else f"{result.backbone} + {result.attn}" if result.attn != "none" else result.backbone


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _over(value: int | None, baseline: int | None, over: str) -> str:
    """A count and what it adds to the baseline."""
    if value is None or not baseline:
        return "-"
    added = value - baseline
    return f"{value:,}" if not added else f"{value:,}   {added:+,} ({added / baseline:+.3%}) over {over}"


def _speed(images_per_s: float | None, ratio: float | None, over: str) -> str:
    told = "-" if images_per_s is None else f"{images_per_s:,.0f} images/s"
    return told if ratio is None else f"{told}   {ratio:.2f} x {over}"


def _recipe(result: Result) -> Recipe | None:
    """The run's recipe; None where its folder is elsewhere by now."""
    path = Path(result.folder) / "recipe.yaml"
    return recipes.read(path) if path.exists() else None


def _against(result: Result, plain: Result | None) -> list[str]:
    """The difference to the plain network at this seed, and what that is worth."""
    if plain is None or plain.test_top1 is None or result.test_top1 is None:
        return []
    points = 100 * (result.test_top1 - plain.test_top1)
    return [f"  difference    {points:+.2f} points to plain {plain.backbone}, {plain.test_top1:.2%}, at this one seed"]


def _next(result: Result, recipe: Recipe | None, plain: Result | None, runs: Path) -> list[str]:
    """The commands that make most of this run."""
    where = "" if str(runs) == "runs" else f" --runs {shlex.quote(str(runs))}"
    if recipe is None:
        return [f"Next: attncli compare{where}"]
    if result.attn == "none":
        other, why = _with(recipe, attn="eca"), "a mechanism to compare it with"
    elif plain is None:
        other, why = recipe.baseline(), "the plain network to compare it with"
    else:
        other, why = _with(recipe, seed=recipe.seed + 1), "another seed, for both: one decides nothing"
    steps = [
        (describe.command(other) + where, why),
        (f"attncli compare{where}", "all runs side by side"),
        (f"attncli look {describe.run_name(recipe)}{where}", "what it looks at in images"),
        (f"attncli ui{where}", "the dashboard"),
    ]
    width = max((len(step) for step, _ in steps if len(step) <= WIDTH), default=0)
    return ["Next:", *(f"  {step:{width}}  # {why}" for step, why in steps)]


def _with(recipe: Recipe, *, attn: str | None = None, seed: int | None = None) -> Recipe:
    """The recipe with another mechanism at its defaults, or another seed."""
    if attn is not None:
        return recipe.model_copy(update={"model": recipe.baseline().model.model_copy(update={"attn": attn})})
    return recipe.model_copy(update={"seed": seed})
