"""Keep large buffers: otherwise glibc returns them to the system at every step and page-faults them in again.

Worth 10 to 20 % of the training throughput of a CNN on a CPU (measured with resnet18 and resnet20 at 32 x 32).
"""

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGEST = (1 << 30, 32 << 20)  # bytes; glibc below 2.35 refuses a threshold above 32 MiB
_USERS = {"GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"}


def tune_malloc() -> bool:
    """Tell glibc to keep freed memory for reuse; call before the first large allocation.

    Return whether it did. It does nothing if the C library is another one, or if the user has tuned it
    through `GLIBC_TUNABLES` or a `MALLOC_..._` variable, or has preloaded another allocator.
    """
    if not _is_glibc() or _USERS & os.environ.keys() or "malloc" in os.environ.get("LD_PRELOAD", ""):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    threshold_set = any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(threshold_set and mallopt(_TRIM_THRESHOLD, (1 << 31) - 1) and mallopt(_TOP_PAD, 64 << 20))


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
