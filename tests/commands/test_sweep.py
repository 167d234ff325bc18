"""`attncli sweep` as it is typed; what it does with processes is in tests/jobs."""

from pathlib import Path

import pytest

from attncli.commands import sweep as module
from attncli.jobs import SweepPlan, Task, TaskEnded
from attncli.jobs.events import EndStatus
from attncli.recipe import parse_override
from attncli.system.signals import StopRequest
from tests.claims.case import run
from tests.commands.line import line, refused
from tests.shared import ROOT

SWEEP = """
recipe: {model: {backbone: resnet20}, measure: {speed: false}}
axes: {attn: [se, eca], seeds: 2}
"""


@pytest.fixture
def file() -> Path:
    """A sweep of six runs, in the folder where written ones are."""
    path = Path("recipes/sweeps/six.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(SWEEP)
    return path


def test_a_dry_run_touches_nothing(file: Path) -> None:
    """The plan by the sweep's bare name, as a table and as JSON; no folder of runs appears."""
    done = line("sweep", "six", "--dry-run")
    assert done.code == 0
    assert "eca, resnet20, seed 1" in done.out
    assert "six: 6 runs, 0 finished; how long" in " ".join(done.out.split())
    assert done.err.splitlines() == ["images of digits: there"]
    told = line("sweep", str(file), "--dry-run", "--json").json()
    assert [(run["attn"], run["seed"], run["status"]) for run in told] == [
        (attn, seed, "new") for seed in (0, 1) for attn in ("none", "se", "eca")
    ]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "seeds", "backbones"),
    [
        (["--seeds", "1"], {0}, {"resnet20"}),
        (["--seeds", "4, 7"], {4, 7}, {"resnet20"}),
        (["--set", "seed=9"], {9}, {"resnet20"}),
        (["--backbone", "resnet56,resnet18"], {0, 1}, {"resnet56", "resnet18"}),
    ],
)
def test_axes_from_the_command_line(file: Path, words: list[str], seeds: set[int], backbones: set[str]) -> None:
    """They take the place of the file's."""
    told = line("sweep", "six", "--dry-run", "--json", *words).json()
    assert {run["seed"] for run in told} == seeds
    assert {run["backbone"] for run in told} == backbones


def test_one_value_said_twice_is_no_conflict() -> None:
    """An option and `--set` that agree are followed, also a list of one."""
    words = ("--attn", "se", "--set", "model.attn=se", "--epochs", "2", "--set", "train.epochs=2", "--seeds", "1")
    told = line("sweep", "--dry-run", "--json", *words, "--set", "seed=0").json()
    assert {run["seed"] for run in told} == {0}
    assert {run["attn"] for run in told} == {"none", "se"}


def test_of_several_settings_of_a_key_the_last_wins() -> None:
    """So a command can add to the words that a variable of the shell has."""
    words = ("--attn", "se", "--set", "data.fraction=0.5", "--set", "data.fraction=0.2")
    (digest,) = {line("check", *words, *more, "--json").json()["digest"] for more in ((), ("--set", "seed=0"))}
    assert line("check", *words[:2], *words[4:], "--json").json()["digest"] == digest
    assert line("check", *words[:4], "--json").json()["digest"] != digest


def test_one_seed_of_a_claim() -> None:
    """`--set seed=4` is followed where `--seeds` is not typed."""
    words = ("simam-acc-cifar", "--fast", "--dry-run", "--json")
    assert {run["seed"] for run in line("claims", "run", *words, "--set", "seed=4").json()} == {4}
    assert {run["seed"] for run in line("claims", "run", *words).json()} == {0, 1, 2}


def test_weights_of_a_run_are_named_by_the_run(file: Path) -> None:
    """`sweep` and `check` take the name of a run for model.pretrained, as `run` does."""
    recipe = run(Path("runs"), attn="none", seed=0, top1=0.9)
    checkpoint = Path("runs", recipe.compute_digest(), "checkpoint")
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text('{"tensors": "tensors-a.safetensors"}')
    (checkpoint / "tensors-a.safetensors").touch()
    words = ("--set", "model.pretrained=none-resnet20-s0")
    assert len(line("sweep", "six", "--dry-run", "--json", *words).json()) == 6
    checked = line("check", "--backbone", "resnet20", "--json", *words).json()
    assert checked["recipe"]["model"]["pretrained"] == f"runs/{recipe.compute_digest()}"
    refused(line("sweep", "six", "--dry-run", "--set", "model.pretrained=none-resnet20-s1"), "did you mean 'none-")


def test_what_is_wrong_is_told_at_once(file: Path) -> None:
    """Exit code 2, a line for each mistake, and nothing is begun."""
    done = line("sweep", "six", "--dataset", "cifar11", "--set", "train.lrr=1")
    assert done.code == 2
    for told in ("unknown dataset: 'cifar11'", "train.lrr: unknown key"):
        assert f"six.yaml: {told}" in done.err.replace("data.name: ", "")
    assert not Path("runs").exists()


@pytest.mark.parametrize("seeds", ["x", "0", "1,", "-1", "1.5"])
def test_seeds_are_a_number_or_a_list(file: Path, seeds: str) -> None:
    """Anything else is refused with both forms in the hint."""
    refused(line("sweep", "six", "--dry-run", "--seeds", seeds), f"--seeds {seeds}", "--seeds 5", "--seeds 0,1,7")


def test_a_file_that_is_not_there(file: Path) -> None:
    """It is named."""
    done = line("sweep", "seven")
    assert done.code == 2
    assert "seven" in done.err


@pytest.mark.parametrize(
    ("status", "stopped", "code", "told"),
    [
        ("FINISHED", "", 0, "Next: attncli compare --sweep six"),
        ("FAILED", "", 1, "log: runs/"),
        ("FAILED", "stopped by the failure of x", 1, "the same command"),
        ("KILLED", "stopped by SIGTERM", 130, "six: stopped by SIGTERM; the same command"),
    ],
)
def test_how_it_ends(
    file: Path, monkeypatch: pytest.MonkeyPatch, status: EndStatus, stopped: str, code: int, told: str
) -> None:
    """0 when all is done, 1 when a run failed, 130 when it was stopped; with --json the same on stdout."""

    def work(plan: SweepPlan, *given: object, **options: object) -> tuple[list[TaskEnded], StopRequest]:
        one = plan.runs[0]
        ended = TaskEnded(Task(recipe=one.recipe, digest=one.digest, title=one.title), status, "x")
        stop = StopRequest(stopped, is_signal=code == 130)
        return [] if status == "FINISHED" else [ended], stop

    monkeypatch.setattr(module, "execute_sweep", work)
    done = line("sweep", "six")
    assert done.code == code
    assert told in done.out
    assert line("sweep", "six", "--json").code == code


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sweep-eca-kernel"], "eca-kernel"),
        (["sweep", "ATTN=se,eca", "RECIPE=quickstart"], "--attn se,eca --recipe quickstart"),
    ],
)
def test_the_makefile_has_sweeps(words: list[str], wanted: str) -> None:
    """One rule serves every written sweep, one those without a file; both pass on what the variables say."""
    import subprocess

    variables = ["DATASET=digits", "BACKBONE=resnet56", "SEEDS=3", "JOBS=2", "VENV=/none"]
    words = ["make", "-n", "--no-print-directory", *words, *variables]
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()[-1]
    command = f"/none/bin/attncli sweep {wanted} --dataset digits --backbone resnet56 --seeds 3 --jobs 2"
    assert " ".join(told.split()) == command


@pytest.mark.parametrize("root", ["/images/\N{LUNGS}", "/images/é", "/a 'b' #1: c"])
def test_options_arrive_as_they_were_given(root: str) -> None:
    """They become text of YAML, which does not read the pairs of escapes that JSON has for characters beyond U+FFFF."""
    (item,) = module._list_shortcut_overrides({"data_root": root})
    assert parse_override(item) == ("data.root", root)


def test_seeds_added_by_a_list_are_no_plan() -> None:
    """A note names the seeds that there are and what plans all; not if they are planned, nor for the plain network."""
    for seed in range(3):
        run(Path("runs"), attn="eca", seed=seed, top1=0.9)
        run(Path("runs"), attn="none", seed=seed, top1=0.9)
    words = ["sweep", "--backbone", "resnet20", "--dry-run", "--attn"]
    told = line(*words, "eca", "--seeds", "3,4,5").err
    assert "seeds 0, 1, 2 " in told
    assert "--set planned_seeds=6" in told
    for others in (["eca", "--seeds", "3,4,5", "--set", "planned_seeds=6"], ["eca", "--seeds", "6"], ["se"]):
        assert "planned_seeds" not in line(*words, *others).err
