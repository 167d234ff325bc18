"""Compile the stub of the CUDA runtime, and give the environment of a process that uses it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

SOURCE = Path(__file__).with_suffix(".c")


def find_obstacle() -> str:
    """Return why the stub cannot be used here, or "" if it can."""
    if sys.platform != "linux":
        return "the stub is preloaded as Linux does it"
    if not (torch.version.cuda or "").startswith("13"):
        return f"torch is built for CUDA {torch.version.cuda}, the stub for 13"
    if torch.cuda.is_available():
        return "a real GPU is here: run python -m tests.device.gpu_check"
    return "" if _find_compiler() else "no C compiler"


def _find_compiler() -> str | None:
    return next((path for name in ("gcc", "cc", "clang") if (path := shutil.which(name))), None)


def make_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which torch sees one simulated GPU; the library is compiled into `folder`."""
    library = folder / "libcuda.so.1"
    soname = f"-Wl,-soname,{library.name}"
    subprocess.run([str(_find_compiler()), "-shared", "-fPIC", soname, "-o", str(library), str(SOURCE)], check=True)
    return os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
