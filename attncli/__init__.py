"""attncli: fair, fast ablations of attention blocks for image classification."""

from typing import Any

__version__ = "0.1.0"
_API_FUNCTIONS = ("build", "load", "compare")  # of attncli.api
_API_MODULES = ("runs", "recipe")  # modules that can be called


def __getattr__(name: str) -> Any:
    """Import a function of the Python interface, or a module that can be called, when it is first used."""
    import importlib

    if name in _API_FUNCTIONS:
        return getattr(importlib.import_module("attncli.api"), name)
    if name in _API_MODULES:
        return importlib.import_module(f"attncli.{name}")
    raise AttributeError(f"module 'attncli' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Return what a notebook offers to complete."""
    return sorted({*globals(), *_API_FUNCTIONS, *_API_MODULES})
