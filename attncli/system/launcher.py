"""What a launcher (torchrun, accelerate, mpirun) tells its processes in environment variables, checked here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from attncli.errors import UserError
from attncli.quantities import format_quantity

RANK_NAMES = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")  # torch's launcher, then MPI's
MPI_SIZE_NAMES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # of mpirun alone, beside its ranks
LAST_PORT = 65_535
START_HINT = "start with `torchrun --nproc-per-node N -m attncli ...`, or unset WORLD_SIZE, RANK and their like"


@dataclass(frozen=True)
class ProcessRank:
    """The place of this process among those of a run: one of `processes`, `local_processes` of them on this machine."""

    rank: int = 0
    processes: int = 1
    local_processes: int = 1
    has_launcher: bool = False


def read_process_rank(environment: Mapping[str, str] = os.environ) -> ProcessRank:
    """Return the place of this process; alone, if no launcher started it.

    Schedulers and containers leave some of the variables in the environment, for example WORLD_SIZE alone.

    Raises:
        UserError: A variable is no number, or one is there without its partners.
    """
    rank_name = next((name for name in RANK_NAMES if environment.get(name)), None)
    rank = _read_number(environment, rank_name, 0) if rank_name else 0
    processes = _read_number(environment, "WORLD_SIZE", 1)
    local_processes = _read_number(environment, "LOCAL_WORLD_SIZE", processes)
    for name in MPI_SIZE_NAMES:
        if not environment.get("WORLD_SIZE") and (count := _read_number(environment, name, 1)) > 1:
            problem = f"mpirun started {count} processes ({name}), but WORLD_SIZE is not set, so each would train alone"
            raise UserError(problem, f"start with `torchrun --nproc-per-node {count} -m attncli ...`, or unset {name}")
    if processes > 1 and rank_name is None:
        problem = f"WORLD_SIZE is {processes}, but no launcher gave this process a rank (RANK is not set)"
        raise UserError(problem, START_HINT)
    if processes < 1:
        raise UserError(f"WORLD_SIZE is {processes}, and a run needs a process", START_HINT)
    if environment.get("WORLD_SIZE") and rank >= processes:
        raise UserError(f"{rank_name} is {rank}, but WORLD_SIZE is {processes}", START_HINT)
    if not 1 <= local_processes <= processes:
        raise UserError(f"LOCAL_WORLD_SIZE is {local_processes}, but WORLD_SIZE is {processes}", START_HINT)
    address = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if processes > 1 and rank_name == RANK_NAMES[0] and address:
        raise UserError(f"WORLD_SIZE is {processes}, but {' and '.join(address)} is not set", START_HINT)
    if processes > 1 and _read_number(environment, "MASTER_PORT", 0) > LAST_PORT:
        raise UserError(f"MASTER_PORT is {environment['MASTER_PORT']}, and the last port is {LAST_PORT}", START_HINT)
    if rank_name and _read_number(environment, "LOCAL_RANK", 0) >= local_processes:
        processes_text = format_quantity(local_processes, "process")
        problem = f"LOCAL_RANK is {environment['LOCAL_RANK']}, but this machine has {processes_text}"
        raise UserError(problem, START_HINT)
    return ProcessRank(rank, processes, local_processes, rank_name is not None)


def is_first_report(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether no other process of the same launcher on this machine has reported this text.

    torchrun and `accelerate launch` give each process a file for its error, each in a folder of its own below a common
    one; there the first process leaves a mark. Without such a launcher each report is the first.
    """
    error_file = environment.get("TORCHELASTIC_ERROR_FILE")
    if not error_file:
        return True
    mark = Path(error_file).parent.parent / f"attncli-{sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # the folder is gone or cannot be written: rather twice than not at all
        return True
    return True


def _read_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if text and not (text.isascii() and text.isdecimal()):
        raise UserError(f"{name} is '{text[:40]}', not a number", START_HINT)
    return int(text[:9]) if text else default
