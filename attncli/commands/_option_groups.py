"""Groups of options: one decorator adds several of click's options to a command."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def apply_options(options: Sequence[Callable[[F], F]], command: F) -> F:
    """Add options to a command, in their order in its help."""
    for option in reversed(options):
        command = option(command)
    return command
