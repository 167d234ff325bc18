"""What a network costs beside its baseline: counted (`cost`), timed (`speed`), and on which machine (`machine`)."""

from attncli.measure.counts import parameters
from attncli.measure.host import machine
from attncli.measure.overhead import cost, cost_of
from attncli.measure.timed import timed
from attncli.measure.timing import speed
from attncli.speeds import cached_speed, speed_key

__all__ = ["cached_speed", "cost", "cost_of", "machine", "parameters", "speed", "speed_key", "timed"]
