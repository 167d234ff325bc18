"""One run, from a recipe to a result (`execute`), its names (`naming`) and its folder (`run_dir`)."""

from attncli.run.execute import DatasetLoader, FigureHook, RunContext, execute_run, measure_speed
from attncli.run.listener import RunListener
from attncli.run.naming import describe_dataset, format_run_title, make_input_spec, name_network
from attncli.run.run_dir import RunInUseError, locked_run_dir

__all__ = [
    "DatasetLoader",
    "FigureHook",
    "RunContext",
    "RunInUseError",
    "RunListener",
    "describe_dataset",
    "execute_run",
    "format_run_title",
    "locked_run_dir",
    "make_input_spec",
    "measure_speed",
    "name_network",
]
