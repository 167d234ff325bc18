"""Tuning glibc's allocator."""

import ctypes
import os
import subprocess
import sys

import pytest

from attncli.train import malloc, tune_malloc


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in (*malloc._USERS, "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)


def test_faults_are_saved():
    """Freed buffers of any size are not faulted in anew when they are asked for again, until they are released."""
    if not malloc._is_glibc():
        pytest.skip("the C library is not glibc")
    code = """
import ctypes, resource, sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("malloc", sys.argv[1])
module = module_from_spec(spec)
spec.loader.exec_module(module)
assert module.tune_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def use(size, times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        buffers = [libc.malloc(size) for _ in range(2)]
        for buffer in buffers:
            for page in range(0, size, 1 << 20):
                libc.memset(buffer + page, 1, 4096)
        for buffer in buffers:
            libc.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for megabytes in (int(text) for text in sys.argv[2:]):
    use(megabytes << 20, 1)
    assert use(megabytes << 20, 5) < megabytes, megabytes
module.release_freed_memory()
assert use(megabytes << 20, 1) > megabytes
"""
    old = tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))) < (2, 35)
    sizes = ("16",) if old else ("16", "1500")  # two of 1.5 GB are more than a trim threshold can be
    subprocess.run([sys.executable, "-c", code, malloc.__file__, *sizes], check=True)


@pytest.mark.parametrize(
    ("name", "value"), [("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1"), ("LD_PRELOAD", "libjemalloc.so")]
)
def test_the_users_own_tuning_wins(monkeypatch, name, value):
    """Whoever set the allocator up is left alone."""
    monkeypatch.setenv(name, value)
    assert not tune_malloc()


def test_other_c_libraries_are_left_alone(monkeypatch):
    """Without glibc nothing is called."""
    monkeypatch.setattr(malloc.os, "confstr", lambda name: None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("called"))
    assert not tune_malloc()


def test_an_older_glibc_takes_its_own_limit(monkeypatch):
    """If a threshold of 2 GiB is refused, 32 MiB is set instead."""
    calls = []

    class Libc:
        def mallopt(self, key, value):
            calls.append((key, value))
            return int(not (key == malloc._MMAP_THRESHOLD and value > 32 << 20))

    monkeypatch.setattr(malloc, "_is_glibc", lambda: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc())
    assert tune_malloc()
    assert calls[:2] == [(malloc._MMAP_THRESHOLD, (1 << 31) - 1), (malloc._MMAP_THRESHOLD, 32 << 20)]
