"""One run, from a recipe to a result (`execute`), its names (`naming`) and its folder (`run_dir`)."""

from attncli.run.execute import DatasetLoader, FigureHook, execute_run
from attncli.run.listener import RunListener
from attncli.run.naming import describe_dataset, format_run_title, make_input_spec, name_network
from attncli.run.run_dir import RunInUseError, locked_run_dir

__all__ = [
    "DatasetLoader",
    "FigureHook",
    "RunInUseError",
    "RunListener",
    "describe_dataset",
    "execute_run",
    "format_run_title",
    "locked_run_dir",
    "make_input_spec",
    "name_network",
]
