"""One run, from a recipe to a result (`story`), with what it is called (`describe`) and its folder (`folder`)."""

from attncli.run.describe import name_network, describe_dataset, make_input_spec, format_run_title
from attncli.run.folder import RunInUseError, locked_run_dir
from attncli.run.story import FigureHook, RunContext, DatasetLoader, measure_overhead, execute_run
from attncli.run.watch import RunListener

__all__ = [
    "FigureHook",
    "RunContext",
    "DatasetLoader",
    "RunInUseError",
    "RunListener",
    "name_network",
    "describe_dataset",
    "locked_run_dir",
    "measure_overhead",
    "execute_run",
    "make_input_spec",
    "format_run_title",
]
