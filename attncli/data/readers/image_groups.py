"""The groups of images that stay together in every cut, found in the paths of their files."""

import re
from collections.abc import Mapping
from dataclasses import replace

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_listing import SplitListing
from attncli.errors import UserError


def find_groups(listings: Mapping[str, SplitListing], pattern: str) -> dict[str, SplitListing]:
    """Return the listings with the group of each file: the first group of the pattern, or all that it matches.

    Args:
        listings: files by class, for each split.
        pattern: a regular expression, searched for in each path (data.group_pattern), such as `patient(\\d+)`.

    Raises:
        UserError: for a pattern that is none, or a file that it does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        hint = "a regular expression, for example 'patient(\\d+)'"
        raise UserError(f"data.group_pattern: {pattern}: {error}", hint) from error
    return {
        split: replace(
            listing, groups=tuple(tuple(_match_group(compiled, file) for file in files) for files in listing.files)
        )
        for split, listing in listings.items()
    }


def _match_group(pattern: re.Pattern[str], file: ImageFile) -> str:
    match = pattern.search(file.path)
    group = match and (match.group(1) if pattern.groups else match.group())
    if not group:
        raise UserError(
            f"data.group_pattern: {pattern.pattern}: does not match {file.path}", "each image needs a group"
        )
    return group
