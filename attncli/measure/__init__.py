"""Measure what a network costs in comparison with its baseline: counts, speed, and the machine.

Nothing is exported here, so that `measure.speed_cache` can be imported without torch.
"""
