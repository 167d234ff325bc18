"""Python's garbage collector, told when there is nothing for it to find."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (100_000, 50, 100)


@contextmanager
def rarely() -> Iterator[None]:
    """Look for garbage rarely within the block, for as long as modules are imported.

    Importing what a run needs makes 600,000 objects that stay; looking through them again and again takes a fifth of
    the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
