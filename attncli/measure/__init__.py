"""What a network costs beside its baseline: counted (`cost`), timed (`speed`), and on which machine (`machine`)."""

from attncli.measure.cost import count_cost, count_recipe_cost
from attncli.measure.environment import describe_machine
from attncli.measure.flops import count_parameters
from attncli.measure.speed_cache import get_or_measure_speed, make_speed_key
from attncli.measure.throughput import measure_throughput
from attncli.measure.timed import cached_throughput

__all__ = [
    "cached_throughput",
    "count_cost",
    "count_parameters",
    "count_recipe_cost",
    "describe_machine",
    "get_or_measure_speed",
    "make_speed_key",
    "measure_throughput",
]
