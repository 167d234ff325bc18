"""`attncli check`: check a recipe; report all its errors at once."""

from typing import Any

import click

from attncli.commands._options import echo_json, find_recipe, json_option, read_recipe, recipe_options


@click.command()
@recipe_options
@click.option("--schema", is_flag=True, help="Print the JSON schema of recipes, for editors.")
@json_option
def command(schema: bool, as_json: bool, **options: Any) -> None:
    """Check a recipe and report every unknown key, wrong type and unknown name at once.

    Prints the full recipe with its defaults, and the digest that identifies its run.

    More in `attncli help concepts`.

    \b
    Example:
      attncli check quickstart --set train.lr=0.05
      attncli check --schema > recipe.schema.json
    """
    if schema:
        from attncli.validation import build_json_schema

        return echo_json(build_json_schema())
    from attncli.validation import check_image_size

    path = find_recipe(options["recipe"])
    recipe = read_recipe(options)
    check_image_size(recipe)
    if as_json:
        return echo_json({"digest": recipe.compute_digest(), "recipe": recipe.model_dump(mode="json")})
    click.echo(recipe.to_yaml(), nl=False)
    click.echo(f"{path or 'the defaults'}: good; its run is {recipe.compute_digest()}", err=True)
    return None
