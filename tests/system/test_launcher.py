"""Facts of what launchers leave in the environment: whole sets are taken, parts of them are refused or ignored."""

from pathlib import Path

import pytest

from attncli.__main__ import print_error
from attncli.errors import UserError
from attncli.system.launcher import ProcessRank, is_first_report, read_process_rank

ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, ProcessRank()),
        ({"RANK": "0"}, ProcessRank(has_launcher=True)),
        ({"WORLD_SIZE": "1"}, ProcessRank()),
        ({"WORLD_SIZE": "", "RANK": ""}, ProcessRank()),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_NPROCS": "4"}, ProcessRank()),
        ({"RANK": "1", "WORLD_SIZE": "2", **ADDRESS}, ProcessRank(1, 2, 2, True)),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", **ADDRESS}, ProcessRank(5, 8, 4, True)),
        ({"OMPI_COMM_WORLD_RANK": "1", "WORLD_SIZE": "2"}, ProcessRank(1, 2, 2, True)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, ProcessRank(has_launcher=True)),
    ],
)
def test_whole_sets(environment, place):
    """One process, or the place among several."""
    assert read_process_rank(environment) == place


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({"WORLD_SIZE": "2", **ADDRESS}, "RANK is not set"),
        ({"WORLD_SIZE": "2", "SLURM_PROCID": "1"}, "RANK is not set"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR and MASTER_PORT is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2", **ADDRESS}, "RANK is 2"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "²", "RANK": "0"}, "WORLD_SIZE is '²'"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "3", **ADDRESS}, "LOCAL_WORLD_SIZE is 3"),
        ({"WORLD_SIZE": "0", "RANK": "0"}, "WORLD_SIZE is 0"),
        ({"WORLD_SIZE": "0"}, "^WORLD_SIZE is 0"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "WORLD_SIZE is not set"),
        ({"PMI_SIZE": "4"}, "WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "abc"}, "MASTER_PORT is 'abc'"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "65536"}, "MASTER_PORT is 65536"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "abc", **ADDRESS}, "LOCAL_RANK is 'abc'"),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "1"}, "LOCAL_RANK is 1"),
    ],
)
def test_parts_of_sets(environment, word):
    """A variable without its partners is one line with what to do, not a traceback of a library."""
    with pytest.raises(UserError, match=word.replace("(", "[(]")) as caught:
        read_process_rank(environment)
    assert "unset" in caught.value.hint


def test_one_of_several_processes_prints_what_all_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below torchrun the first process to fail prints the error, the others only what they alone have met."""
    for rank, problem in ((1, "train.lr: not a number"), (0, "train.lr: not a number"), (2, "process 2: no memory")):
        folder = tmp_path / "attempt_0" / str(rank)
        folder.mkdir(parents=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))
        print_error(UserError(problem, "a hint"))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "Error" in line] == [
        "Error: train.lr: not a number", "Error: process 2: no memory"
    ]  # fmt: skip
    assert len(lines) == 4


def test_an_error_is_printed_without_a_folder_for_it(tmp_path: Path) -> None:
    """Without torchrun, and if its folder is gone, each process reports."""
    for environment in ({}, {"TORCHELASTIC_ERROR_FILE": str(tmp_path / "gone" / "0" / "0" / "error.json")}):
        assert is_first_report("x", environment)
        assert is_first_report("x", environment)
