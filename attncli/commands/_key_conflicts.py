"""Refuse a command line on which an option and `--set` give one key of a recipe different values."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attncli.errors import UserError


def refuse_key_conflicts(values: Mapping[str, Any], overrides: Iterable[str]) -> None:
    """Raise UserError if an option and `--set` give a key of the recipe different values: one would win without a word.

    Of several `--set` the last one wins, as it does where a command adds to what a variable of the shell says.

    Args:
        values: what the options say, by dotted key; None is an option that is not given, a list several values.
        overrides: the texts KEY=VALUE of `--set`.
    """
    from attncli.recipe import parse_override  # it loads pydantic, which `--help` does without

    said = {key: value for key, value in values.items() if value is not None}
    for item in overrides:
        key, value = parse_override(item)
        leaves = dict(_list_leaves(key, value))
        for other_key, other_value in said.items():
            if other_key in leaves:
                is_conflict = other_value not in (leaves[other_key], [leaves[other_key]])
            else:
                is_conflict = key in leaves and other_key.startswith(f"{key}.")  # no mapping: it replaces all
            if is_conflict:
                raise UserError(
                    f"--set {item}: {other_key} is {_format_value(other_value)} already", "leave out one of them"
                )


def describe_seeds(seeds: int | list[int] | None) -> int | list[int] | str | None:
    """Return what `--seeds` says of the key `seed`: one seed, several, the first and last of a number, or None."""
    return (f"0 to {seeds - 1}" if seeds > 1 else 0) if isinstance(seeds, int) else seeds


def _list_leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys below `key`, with their values; `key` itself if the value is no mapping."""
    if not isinstance(value, Mapping):
        yield key, value
        return
    for name, inner_value in value.items():
        yield from _list_leaves(f"{key}.{name}", inner_value)


def _format_value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
