"""Tune Python's garbage collector for times at which there is nothing for it to find."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RELAXED_THRESHOLDS = (100_000, 50, 100)


@contextmanager
def relaxed_gc() -> Iterator[None]:
    """Collect garbage rarely within the block; use it while modules are imported.

    Importing what a run needs makes 600,000 objects that stay; scanning them again and again takes a fifth of
    the time.
    """
    previous_thresholds = gc.get_threshold()
    gc.set_threshold(*RELAXED_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*previous_thresholds)
