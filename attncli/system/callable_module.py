"""Let a module be called: `attncli.runs()` and `attncli.recipe()` are functions for users and modules inside."""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


def make_module_callable(name: str, target: str) -> None:
    """Let calls of the module `name` go to `target`, given as "module:function" and imported on the first call."""
    target_module, _, function_name = target.partition(":")

    class CallableModule(ModuleType):
        """The module, which calls the target."""

        @property
        def __signature__(self) -> inspect.Signature:
            """The target's, as notebooks show it."""
            return inspect.signature(getattr(importlib.import_module(target_module), function_name))

        def __call__(self, *arguments: Any, **keywords: Any) -> Any:
            return getattr(importlib.import_module(target_module), function_name)(*arguments, **keywords)

    sys.modules[name].__class__ = CallableModule
