"""What a network costs beside its baseline: counted (`cost`), timed (`speed`), and on which machine (`machine`)."""

from attncli.measure.counts import count_parameters
from attncli.measure.host import describe_machine
from attncli.measure.overhead import count_cost, count_recipe_cost
from attncli.measure.timed import cached_throughput
from attncli.measure.timing import measure_throughput
from attncli.speeds import get_or_measure_speed, make_speed_key

__all__ = [
    "get_or_measure_speed",
    "count_cost",
    "count_recipe_cost",
    "describe_machine",
    "count_parameters",
    "measure_throughput",
    "make_speed_key",
    "cached_throughput",
]
