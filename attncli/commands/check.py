"""`attncli check`: check a recipe; report all its errors at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._output import echo_json, echo_note, json_option
from attncli.commands._recipe_options import find_recipe, read_recipe, recipe_options
from attncli.commands._run_options import new_runs_option

if TYPE_CHECKING:
    from attncli.jobs.plan import PlannedRun


@click.command()
@recipe_options
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors.")
@new_runs_option
@json_option
def command(schema: bool, runs: Path, as_json: bool, **options: Any) -> None:
    """Check a recipe and report every unknown key, wrong type and unknown name at once.

    Prints the full recipe with its defaults, the digest that identifies its run, whether that run is finished and about
    how long it takes, and whether the images are there and how many. Folders and lists that a run would refuse are
    refused here: wrong layouts, missing files, a class whose first file is no image. No image is decoded. A folder that
    is not on this machine is only told of, as the run may be on another.

    More in `attncli help concepts`.

    \b
    Example:
      attncli check quickstart --set train.lr=0.05
      attncli check --schema > recipe.schema.json
    """
    if schema:
        from attncli.validation import build_json_schema

        return echo_json(build_json_schema())
    from attncli.data import describe_images
    from attncli.jobs.estimate import DurationHistory
    from attncli.jobs.plan import plan_run
    from attncli.measure.smallest_image import check_backbone_size
    from attncli.track.tags import name_images
    from attncli.validation import check_image_size

    path = find_recipe(options["recipe"])
    is_default = not path and not any(options.values())  # before the options are read, which takes them out
    recipe = read_recipe(options, runs=runs)
    check_image_size(recipe)
    check_backbone_size(recipe, recipe.data.size)
    images = describe_images(recipe.data)
    run = plan_run(recipe, str(path or ""), runs, DurationHistory(runs))
    if as_json:
        state = {"status": run.status, "seconds": run.expected_seconds, "images": images}
        return echo_json({"digest": run.digest, "recipe": recipe.model_dump(mode="json"), **state})
    click.echo(recipe.to_yaml(), nl=False)
    name = path or ("the defaults" if is_default else "the defaults with these options")
    echo_note(f"{name}: good; its run is {run.digest} ({_describe_progress(run)})")
    echo_note(f"images of {name_images(recipe)}: {images}")
    return None


def _describe_progress(run: "PlannedRun") -> str:
    """Return whether a run is finished, begun or new, and about how long it takes if something similar was timed."""
    from attncli.report.run_progress import format_duration

    duration = "" if run.expected_seconds is None else f", about {format_duration(run.expected_seconds)}"
    return f"{run.status}{duration}"
