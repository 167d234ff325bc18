"""What a network costs beside its baseline: counted, timed, and on which machine.

This package exports nothing here, so that `measure.speed_cache` can be imported without torch.
"""
