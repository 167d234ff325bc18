"""End a process that has loaded torch without waiting for Python to free everything."""

import atexit
import os
import sys
from contextlib import suppress


def exit_fast(code: int) -> None:
    """End the process after its exit handlers, without freeing the objects it has loaded.

    Python would go through torch's and MLflow's 600,000 objects several times, which takes two seconds.
    """
    if "torch" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(code)
