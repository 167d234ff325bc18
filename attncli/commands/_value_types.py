"""Types of the values that options of several commands take: lists of names, seeds, sizes, numbers of jobs."""

import math
from typing import Any, Literal

import click

from attncli.errors import UserError


class ValueType(click.ParamType):  # type: ignore[type-arg]  # only later versions of click have a parameter here
    """A type of values of options."""


class NameList(ValueType):
    """Names separated by commas; the command gets a list."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names, without spaces around them."""
        if isinstance(value, list):
            return value
        return [name.strip() for name in value.split(",")] if value else []


class SeedList(ValueType):
    """How many seeds (`3`) or which ones (`0,1,7`); the command gets an int or a list of ints."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | list[int]:
        """Return the number or the list. Raises UserError for anything else."""
        if isinstance(value, int | list):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() for word in words) or words == ["0"]:
            raise UserError(
                f"--seeds {value}: neither a number of seeds nor a list of seeds",
                "for example --seeds 5, or --seeds 0,1,7",
            )
        seeds = [int(word) for word in words]
        return seeds if len(seeds) > 1 else seeds[0]


class Seed(ValueType):
    """The seed of one run."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises UserError for several, with the ways to train several."""
        text = str(value).strip()
        if len(text.split(",")) > 1:
            raise UserError(
                f"--seed {text}: a run has one seed",
                "call it once per seed, or train several with `attncli sweep FILE --seeds 0,1,2`",
            )
        if not text.isdecimal():
            raise UserError(f"--seed {text}: not a whole number from 0", "for example --seed 3")
        return int(text)


class ImageSize(ValueType):
    """The size of images: one side, or height x width; the command gets an int or a list of two."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | list[int]:
        """Return the side, or height and width. Raises UserError for anything else."""
        from attncli.recipe.image_size import parse_image_size

        return value if isinstance(value, int | list) else parse_image_size(str(value))


class JobCount(ValueType):
    """A number of runs at a time, or `auto`."""

    name = "jobs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        """Return the number, or "auto". Raises UserError for anything else."""
        if value == "auto":
            return "auto"
        if isinstance(value, int):
            return value
        if not str(value).isdecimal() or int(value) < 1:
            raise UserError(f"--jobs {value}: not a whole number from 1, and not auto", "for example --jobs 2")
        return int(value)


class FiniteNumber(click.FloatRange):
    """A number within limits that is neither nan, which click lets pass any limit, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises BadParameter for anything else."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


NAMES, SEEDS, SEED, JOBS, IMAGE_SIZE = NameList(), SeedList(), Seed(), JobCount(), ImageSize()
