"""Bad input costs the user one line, a hint and no time: no traceback, nothing on stdout, nothing half-written."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from attncli import records, track, validation
from attncli.jobs import resources
from attncli.system import gpu_support
from attncli.system.signals import STOP_SIGNALS
from attncli.track import RunStore
from tests.commands import plugins
from tests.commands.line import TINY, line, process, refused, run_folders
from tests.data import image_fixtures

LINES = {
    "unknown attention": ("run --attn ecaa", "model.attn: unknown attention: 'ecaa'", "did you mean 'eca'?"),
    "unknown backbone": ("run --backbone resnet19", "model.backbone: unknown backbone: 'resnet19'", "'resnet1"),
    "unknown dataset": ("run --dataset digit", "data.name: unknown dataset: 'digit'", "did you mean 'digits'?"),
    "unknown key": ("run --set train.lrr=1", "train.lrr: unknown key", "did you mean 'lr'?"),
    "unknown section": ("run --set trian.lr=1", "trian: unknown key", "did you mean 'train'?"),
    "section near another word": ("run --set modle.attn=eca", "modle: unknown key", "did you mean 'model'?"),
    "combination without its end": ("run --attn se+", "a name of a mechanism is empty", "se+simam"),
    "two colons before a class": ("run --attn cbam.py::CBAM", "'cbam.py::CBAM'", "one colon: cbam.py:CBAM"),
    "one option near, others far": ("compare --datset x", "unknown option: --datset", "did you mean --dataset?"),
    "unknown option of a mechanism": ("run --attn eca --set model.options.kk=3", "model.options.kk", "'k'?"),
    "unknown option of a command": ("run --sede 3", "unknown option: --sede", "--seed"),
    "unknown command": ("runn", "unknown command: 'runn'", "did you mean 'run'?"),
    "command of another program": ("train --attn eca", "unknown command: 'train'", "did you mean 'run'?"),
    "mechanism in place of a command": ("se", "unknown command: 'se'", "a mechanism: `attncli run --attn se` trains"),
    "beginning of a mechanism in place of a command": (
        "squeeze", "unknown command: 'squeeze'", "did you mean 'se'? A mechanism follows --attn: `attncli run --attn",
    ),
    "backbone in place of a command": ("resnet20", "unknown command", "a backbone: `attncli run --backbone resnet20`"),
    "dataset in place of a command": ("cifar10", "unknown command", "a dataset: `attncli run --dataset cifar10`"),
    "recipe in place of a command": ("cifar-fast", "unknown command", "a recipe: `attncli run cifar-fast`"),
    "sweep in place of a command": ("eca-kernel", "unknown command", "a sweep: `attncli sweep eca-kernel`"),
    "list of another program": ("list", "unknown command: 'list'", "did you mean 'ls'?"),
    "plan of another program": ("run --dry-run", "unknown option: --dry-run", "`attncli check`"),
    "options in brackets": ("run --attn cbam(reduction=8)", "'cbam(reduction=8)'", "--set model.options.KEY=VALUE"),
    "sweep of nothing": ("sweep --seeds 3", "SWEEP is missing", "--attn se,eca"),
    "sweep with two recipes": ("sweep channel --recipe quickstart", "--recipe: a sweep's file has its", "leave out"),
    "unknown mechanism of a sweep": ("sweep --attn se,ecaa", "command line: model.attn: unknown", "'eca'?"),
    "unknown mechanism of a bench": ("bench train --attn ecaa", "model.attn: unknown attention: 'ecaa'", "'eca'?"),
    "empty mechanism of a bench": ("bench eval --attn sa+", "a name of a mechanism is empty", "se+simam"),
    "unknown mechanism of blocks": ("bench blocks --attn se,ecaa --repeats 3", "unknown attention: 'ecaa'", "'eca'?"),
    "slurm in a plan": ("sweep --attn eca --slurm a=b --dry-run", "--slurm without --on slurm", "--on slurm"),
    "cores in a plan": ("sweep --attn eca --cpus 2 --dry-run", "--cpus is only for clusters", "--jobs"),
    "sbatch in a plan": ("sweep --attn eca --on slurm --slurm time --dry-run", "--slurm time: not KEY=VALUE", ""),
    "unknown backbone of a bench": ("bench train --backbone resnet19", "unknown backbone: 'resnet19'", "'resnet1"),
    "no number of minutes": ("bench train --minutes nan", "'--minutes': nan is not a finite number", "--help"),
    "no margin": ("compare --margin nan", "'--margin': nan is not a finite number", "compare --help"),
    "endless minutes": ("bench eval --minutes inf", "'--minutes': inf is not a finite number", "--help"),
    "unknown site": ("run --attn eca --set model.site=gait", "model.site: unknown site: 'gait'", "'gate'?"),
    "two datasets of an evaluation": (
        "eval x --dataset cifar10 --set data.name=digits", "--set data.name=digits: data.name is cifar10 already",
        "leave out one",
    ),
    "two mechanisms of a run": ("check --attn se --set model.attn=eca", "model.attn is se already", "leave out one"),
    "two mechanisms of a measurement": (
        "measure --attn se,eca --set model.attn=se", "model.attn is se,eca already", "leave out one",
    ),
    "two sizes of a batch": (
        "measure --attn se --batch-size 4 --set measure.batch_size=8", "measure.batch_size is 4 already", "leave out",
    ),
    "two datasets to show": ("data show digits --set data.name=mnist", "data.name is digits already", "leave out one"),
    "two mechanisms of a sweep": (
        "sweep --attn se --set model.attn=eca --dry-run", "model.attn is se already", "leave out one",
    ),
    "two lengths of a sweep": (
        "sweep --attn se --epochs 2 --set train.epochs=3 --dry-run", "train.epochs is 2 already", "leave out one",
    ),
    "two choices of seeds": (
        "sweep --attn se --seeds 3 --set seed=7 --dry-run", "seed is 0 to 2 already", "leave out one",
    ),
    "two lengths for a claim": (
        "claims run simam-acc-cifar --epochs 2 --set train.epochs=3 --dry-run", "train.epochs is 2 already", "leave",
    ),
    "another mechanism than the claim's": (
        "claims run simam-acc-cifar --set model.attn=eca --dry-run", "the claim says which networks", "attncli sweep",
    ),
    "a section that replaces an option": (
        "check --backbone resnet20 --set model=null", "model.backbone is resnet20 already", "leave out one",
    ),
    "a section with another value than an option": (
        "check --backbone resnet20 --set model={'backbone':'resnet18'}", "model.backbone is resnet20 already", "leave",
    ),
    "a section with another mechanism than the claim's": (
        "claims run simam-acc-cifar --set model={'attn':'eca'} --dry-run", "the claim says which networks", "attncli",
    ),
    "a section of a finished run": ("eval x --set train={'lr':1}", "not a key of data", "set data.KEY only"),
    "dashboard of a store that has one": ("ui --tracking-uri databricks", "Databricks", "browser"),
    "unknown kind of list": ("ls recipies", "unknown list: 'recipies'", "did you mean 'recipes'?"),
    "unknown format": ("compare --format xml", "'xml' is not one of", "compare --help"),
    "misspelt format": ("compare --format latx", "'latx' is not one of", "did you mean 'latex'?"),
    "misspelt order": ("compare --sort top", "'top' is not one of", "did you mean 'top1'?"),
    "misspelt file format": ("export nope --to onx", "'onx' is not one of", "did you mean 'onnx'?"),
    "misspelt shell": ("completion bsh", "'bsh' is not one of", "did you mean 'bash'?"),
    "unknown mechanism to show": ("show ecaa", "unknown attention: 'ecaa'", "did you mean 'eca'?"),
    "unknown mechanism to measure": ("measure --attn se,ecaa", "unknown attention: 'ecaa'", "did you mean 'eca'?"),
    "wrong type": ("run --set train.lr=fast", 'train.lr: "fast" is not allowed', "allowed: number"),
    "wrong range": ("run --epochs 0", "train.epochs: 0 is not allowed", "allowed: greater than or equal to 1"),
    "wrong type of an option": ("run --attn eca --set model.options.k=x", "model.options.k: 'x'", "allowed: int"),
    "word that an option does not take": (
        "run --attn self-attention --set model.options.pairwise=dot", "pairwise: 'dot' is not allowed",
        "did you mean 'dot-product'?; allowed: embedded-gaussian | gaussian | dot-product | concatenation",
    ),
    "published figures of no network": ("published --backbone resnte50", "unknown backbone", "'resnet50'"),
    "several values of a run": (
        "run --set train.lr=[0.1,0.3]", "train.lr: [0.1, 0.3] is not allowed",
        "allowed: number; several values are an axis of a sweep's file: axes: {train.lr: [0.1, 0.3]}",
    ),
    "several values of a sweep": (
        "sweep --attn eca --set train.lr=[0.1,0.3]", "train.lr: [0.1, 0.3] is not allowed", "axes: {train.lr: [0.1,",
    ),
    "one of two types": ("run --set data.classes=[1,2]", "data.classes: [1, 2]", "integer or list of strings"),
    "value in place of a section": ("run --set train=3", "train: 3 is not allowed", "allowed: mapping"),
    "word for a number": ("run --epochs many", "'many' is not a valid integer", "run --help"),
    "mechanism in place of a recipe": ("run eca", "eca: not a recipe", "--attn eca"),
    "mechanisms in place of a sweep": ("sweep eca,se", "eca,se: not a recipe", "--attn eca,se"),
    "backbone in place of a recipe": ("sites resnet20", "resnet20: not a recipe", "--backbone resnet20"),
    "dataset in place of a recipe": ("run cifar10", "cifar10: not a recipe", "--dataset cifar10"),
    "code in place of a recipe": ("run m.py:C", "m.py:C: not a recipe", "--attn m.py:C or --backbone m.py:C"),
    "mechanism without an option": ("compare se+eca", "unexpected extra argument", "--attn se+eca"),
    "backbone without an option": ("published resnet50", "unexpected extra argument", "--backbone resnet50"),
    "sites of no mechanism": ("sites --backbone resnet20", "no mechanism whose sites", "--attn eca"),
    "no argument": ("show", "Missing argument 'NAME'", "show --help"),
    "not key=value": ("run --set train.lr", "--set train.lr: not of the form key=value", "for example"),
    "value that is no YAML": ("run --set train.lr=[1", "--set train.lr=[1: the value is not valid YAML", "quotes"),
    "options without a mechanism": ("run --set model.options.k=3", "'none' takes no options", "name a mechanism"),
    "missing recipe": ("run nowhere.yaml", "nowhere.yaml: No such file", "attncli recipe ls"),
    "folder as recipe": ("run .", ".: Is a directory", "attncli recipe ls"),
    "missing file of one's own": ("run --attn ./nowhere.py", "nowhere.py: No such file", ".py file"),
    "another kind of site": ("run --attn eca --backbone resnet20 --set model.site=join", "model.site: join", "gate"),
    "stage that is not there": ("run --attn eca --backbone resnet20 --set model.stages=[4]", "has 3 stages", "from 1"),
    "no stage at all": ("run --attn eca --backbone resnet20 --set model.stages=[]", "no block", "3 stages"),
    "option that cannot be": ("run --attn eca --set model.options.k=4", "must be odd", "attncli show eca"),
    "frames of still images": ("run --attn tam --backbone resnet20", "model.attn: 'tam'", "data.name=clips"),
    "site of a whole network": ("run --attn vit --set model.site=gate", "whole network", "leave out model.site"),
    "warm-up longer than the run": (
        "run --set train.schedule=cosine --set train.warmup_epochs=30", "train.warmup_epochs: 30", "smaller",
    ),
    "more of a class than there is": ("run --set data.per_class=1000", "data.per_class: 1000", "at most"),
    "unknown class": ('run --set data.classes=["x","1"]', "data.classes: unknown class: 'x'", "known: 0, 1"),
    "folder without a place": ("run --dataset folder", "data.root: the dataset 'folder' needs one", "--data-root"),
    "folder that is not there": ("run --dataset folder --data-root nowhere", "nowhere: no such folder", "train/CLASS"),
    "option of a command below": ("results --json", "unknown option: --json", "results ls --json`"),
    "key as an option": ("run --lr 0.1", "unknown option: --lr", "--set train.lr="),
    "key of two words as an option": ("run --batch-size=3", "unknown option: --batch-size", "--set train.batch_size="),
    "option of another program": ("run --gpus 2", "unknown option: --gpus", "--processes"),
    "key that has an option": ("run --imgsz 3", "unknown option: --imgsz", "--image-size"),
    "another name of an option": ("run --model resnet18", "unknown option: --model", "--backbone"),
    "a recipe as an option": ("run --config x.yaml", "unknown option: --config", "`attncli run FILE`"),
    "an option that nothing has": ("run --workers 4", "unknown option: --workers", "leave it out"),
    "key in place of a recipe": ("run lr=0.1", "lr=0.1: not a recipe", "--set train.lr=0.1"),
    "key in place of a sweep": ("sweep model.attn=eca", "model.attn=eca: not a recipe", "--set model.attn=eca"),
    "key without its section": ("run --set lr=0.1", "lr: unknown key", "'train.lr'"),
    "key of another section": ("run --set model.lr=0.1", "model.lr: unknown key", "'train.lr'"),
    "option that stands twice": ("run --attn eca --attn se", "--attn stands 2 times", "measure"),
    "list that stands twice": ("measure --attn eca --attn se", "--attn stands 2 times", "--attn A,B"),
    "option of a command in a group": ("claims table --attn eca --attn se", "--attn stands 2 times", "--attn A,B"),
    "several seeds": ("run --seed 0,1,2", "--seed 0,1,2: a run has one seed", "--seeds 0,1,2"),
    "several mechanisms": ("run --attn se,simam", "unknown attention: 'se,simam'", "attncli measure"),
    "mechanism as papers write it": ("run --attn SENet", "unknown attention: 'SENet'", "did you mean 'se'?"),
    "backbone as papers write it": ("run --backbone WRN-28-10", "'WRN-28-10'", "did you mean 'wide_resnet28_10'?"),
    "dataset as papers write it": ("data ls CIFAR10", "unknown dataset: 'CIFAR10'", "did you mean 'cifar10'?"),
    "name of an experiment that is too long": (
        f"run --set experiment={'x' * 600}", "experiment: \"xxx", "at most 500 characters",
    ),
    "store of an unknown kind": ("run --tracking-uri ftp://x", "tracking store ftp://x", "sqlite:///"),
    "store of files": ("run --tracking-uri file:///tmp/x", "tracking store file:///tmp/x", "sqlite:///"),
    "store in memory": ("run --tracking-uri sqlite:///:memory:", "tracking store sqlite:///:memory:", "sqlite:///"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES.values(), ids=LINES.keys())
def test_line(case: tuple[str, str, str]) -> None:
    """What is wrong and where, then what to do; exit code 2, and no run was begun."""
    words, *told = case
    refused(line(*words.split()), *told)
    assert run_folders() == []
    assert not Path("runs/mlflow.db").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run --dataset folder --data-root nowhere", "no such folder"),
        ("data verify parquet --data-root x", "no such folder"),
        ("measure --attn se --no-speed --processes 2", "--processes times, and --no-speed does not"),
        ("eval x --severity 2", "--severity 2: no corruption is named"),
        ("look x --no-track --tracking-uri sqlite:///x.db", "--tracking-uri: with --no-track"),
    ],
)
def test_what_is_refused_at_once_costs_no_time(words: str, told: str) -> None:
    """A folder that is not there, or an option without use, is refused before torch and MLflow, which take seconds."""
    code = (
        f"import sys; sys.argv[1:] = {words.split()!r}\nfrom attncli.__main__ import main\n"
        "try: main()\nexcept SystemExit as e: assert e.code == 2\n"
        "print({'torch', 'mlflow', 'numpy', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert told in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which takes fp16")
def test_fp16_on_a_cpu() -> None:
    """A number format that would be swapped in silence is refused, before the images are read."""
    done = line("run", "--backbone", "resnet20", "--set", "train.precision=fp16")
    refused(done, "train.precision: fp16 needs a CUDA device", "bf16 or fp32")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:9", "mps", "gpu"])
def test_device_that_is_not_here(name: str) -> None:
    """Every command that computes refuses a device that is not there, or that nobody knows, and writes nothing."""
    refused(line("run", *TINY, "--device", name), f"--device {name}", "cuda:1" if name == "gpu" else "--device")
    assert not list(Path("runs").glob("*/log.jsonl"))
    refused(line("measure", "--attn", "eca", "--backbone", "resnet20", "--device", name), f"--device {name}")
    refused(line("claims", "--measure", "--device", name), f"--device {name}")
    for bench in ("train", "eval", "data"):
        refused(line("bench", bench, "--device", name), f"--device {name}")
    assert gpu_support.DEVICE_VARIABLE not in os.environ


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_sweep_for_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before any run starts."""
    for visible in (None, "0,1", "nonsense"):
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        resources.list_gpus.cache_clear()
        refused(line("sweep", "channel", "--seeds", "1", "--device", "cuda"), "--device cuda", "doctor")
    resources.list_gpus.cache_clear()
    assert run_folders() == []


def test_more_processes_than_images_of_a_step() -> None:
    """They are refused before any is started; a thousand of them would stop the machine."""
    done = line("run", *TINY, "--set", "train.batch_size=32", "--processes", "1000")
    refused(done, "32 images cannot be divided over 1000 processes", "at most 32")
    assert run_folders() == []


YAML = {
    "broken": ("model: [1, 2\n", "recipe.yaml: not valid YAML: line 2", "the file"),
    "doubled key": ("model: {attn: eca}\nmodel: {attn: se}\n", "line 2, column 1: key 'model' stands twice", "fix"),
    "no mapping": ("- 1\n", "recipe.yaml: a recipe is a mapping of sections", "data, model, train"),
    "not text": (b"\xff\xfe\x00", "recipe.yaml: not a text file", "recipe ls"),
    "wrong section": ("model: eca\n", 'recipe.yaml: model: "eca" is not allowed', "allowed: mapping"),
}


@pytest.mark.parametrize("case", YAML.values(), ids=YAML.keys())
def test_recipe_that_cannot_be_read(case: tuple[str | bytes, str, str]) -> None:
    """The file, and the place in it."""
    content, *told = case
    Path("recipe.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(line("run", "recipe.yaml"), *told)
    assert not Path("runs").exists()


def test_all_errors_at_once() -> None:
    """Errors of form and of names, each with its own line and hint."""
    Path("recipe.yaml").write_text("train: {lr: fast, epohcs: 3}\nmodel: {attn: ecaa}\n")
    refused(line("check", "recipe.yaml", "--set", "seed=x"), "epohcs", "train.lr", "ecaa", "seed", errors=4)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "{}\n", "# train:\n#   lr: 0.2\n"])
def test_a_recipe_without_a_key(text: str) -> None:
    """A file that sets nothing is refused wherever a recipe is taken, with options too: it would train the defaults."""
    Path("recipe.yaml").write_text(text)
    refused(line("run", "recipe.yaml", "--attn", "eca"), "recipe.yaml: no key in it", "trains the defaults")
    assert line("check", "recipe.yaml").code == 2
    refused(line("sweep", "--attn", "se", "--recipe", "recipe.yaml"), "recipe.yaml: no key in it")
    refused(line("sweep", "./recipe.yaml"), "no key in it", "axes")
    assert not Path("runs").exists()


def test_two_recipes() -> None:
    """Two recipes on a line are named, not one of them taken."""
    refused(line("run", "a.yaml", "b.yaml"), "2 recipes: a.yaml, b.yaml", "--set")


def test_a_process_of_its_own() -> None:
    """`python -m attncli` ends with the same code and the same two lines."""
    refused(process("run", "--attn", "ecaa"), "unknown attention: 'ecaa'", "did you mean 'eca'?")


def test_folder_with_one_class() -> None:
    """One class is nothing to tell apart."""
    image_fixtures.picture(Path("images/train/cat/0.png"), 0)
    image_fixtures.picture(Path("images/test/cat/0.png"), 1)
    done = line("run", "--dataset", "folder", "--data-root", "images")
    refused(done, "images/train: one folder only ('cat')", "train/CLASS")
    assert run_folders() == []


@pytest.mark.parametrize("executor", ["local", "ray", "slurm"])
def test_sweep_whose_images_are_refused(executor: str) -> None:
    """The images that are here are looked at before anything is trained or submitted; no cluster is needed for that."""
    image_fixtures.picture(Path("images/train/cat/0.png"), 0)
    image_fixtures.picture(Path("images/test/cat/0.png"), 1)
    words = "sweep --attn eca --backbone resnet20 --image-size 8 --dataset folder --data-root images --on"
    refused(line(*words.split(), executor), "images/train: one folder only ('cat')", "train/CLASS")
    assert not Path("runs").exists()


def test_image_that_is_no_image() -> None:
    """The file is named, not skipped."""
    image_fixtures.folder(Path("images"))
    Path("images/train/dog/7.png").write_text("no image")
    done = line("run", "--dataset", "folder", "--data-root", "images", "--backbone", "resnet20")
    refused(done, "images: 1 of 12 files", "train/dog/7.png (not an image)", "remove")
    assert run_folders() == []


def test_data_set_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be downloaded is told with the ways around it."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    done = line("run", "--dataset", "cifar10", "--data-root", "empty")
    refused(done, "cifar10: not in empty, and the download failed", "--data-root", "folder", "digits")
    assert run_folders() == []
    assert [p for p in Path("empty").iterdir() if p.suffix != ".lock"] == []


PLUGINS: dict[str, tuple[Callable[[Path], str], str]] = {
    "without Attention": (lambda p: p.write_text("card = 1\n") and str(p), "no `class Attention(nn.Module)`"),
    "no Python": (lambda p: p.write_text("class Attention(:\n") and str(p), "line 1: not valid Python"),
    "unknown fact": (lambda p: plugins.write(p, facts="chanels"), "unknown site argument: 'chanels'"),
    "unknown site": (lambda p: plugins.write(p, site="gaet"), "card: unknown site: 'gaet'"),
    "bug on import": (lambda p: plugins.write(p, first="\nboom = 1 / 0\n"), "line 2: fails on import: ZeroDivisionErr"),
    "missing package": (lambda p: plugins.write(p, first="import nowhere_at_all\n"), "line 1: fails on import: Module"),
    "constructor raises": (lambda p: plugins.write(p, init="self.x = {}['lost']"), "line 13: fails for layer1.0.bn2"),
    "forward raises": (lambda p: plugins.write(p, "x @ self.weight[0]"), "line 16: fails on a map of zeros"),
    "forward of another shape": (lambda p: plugins.write(p, "x[:, :1]"), "returns (2, 1, 8, 8) for (2, 16, 8, 8)"),
    "forward of no tensor": (lambda p: plugins.write(p, "(x, x)"), "returns tuple for (2, 16, 8, 8)"),
    "convolution of another width": (
        lambda p: plugins.write(
            p,
            "self.conv(x)",
            site="conv",
            facts="channels_in: int, channels: int, stride",
            init="self.conv = nn.Conv2d(channels_in, channels // 2, 3, stride, 1)",
        ),
        "does not fit the network",
    ),
    "no way back": (lambda p: plugins.write(p, "x + self.weight.exp_()"), "line 16: does not fit the network: Runt"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLUGINS.values(), ids=PLUGINS.keys())
def test_file_of_ones_own(tmp_path: Path, case: tuple[Callable[[Path], str], str]) -> None:
    """A mistake in a user's own file is told with the file, and the line where there is one, before any training."""
    make, told = case
    path = make(tmp_path / "mine.py")
    refused(line("run", "--attn", path, *TINY), "mine.py", told)
    assert run_folders() == []


def test_file_that_fails_in_training(tmp_path: Path) -> None:
    """A mistake that only training meets is a failed run that names the line."""
    path = plugins.write(tmp_path / "mine.py", "self.weight.nowhere if self.training else x * self.weight")
    refused(line("run", "--attn", path, *TINY), "mine.py, line 16: fails in training: AttributeError", code=1)
    (row,) = track.list_run_rows(RunStore(Path("runs")))
    assert row["status"] == "FAILED"


@pytest.mark.parametrize("runs", ["file", "file/runs"])
def test_runs_that_cannot_be_written(runs: str) -> None:
    """A file where the folder of runs should be."""
    Path("file").touch()
    refused(line("run", *TINY, "--runs", runs), "file")


def test_another_process_at_the_run() -> None:
    """Two processes never write one folder."""
    folder = Path("runs") / validation.read(None, ["seed=3"]).compute_digest()
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        refused(line("run", "--seed", "3"), f"{folder}: another process", "wait for it")


def test_dead_tracking_server() -> None:
    """A server that is away is told before anything is read or trained, or tried again, which takes minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    for words in (["run", *TINY], ["ls", "runs"], ["compare"], ["sync"], ["ui", "--check"]):
        refused(line(*words, "--tracking-uri", f"http://127.0.0.1:{port}"), f"{port} does not answer", "start it")
    assert time.monotonic() - began < 200
    assert run_folders() == []


def test_loss_that_is_no_number() -> None:
    """A learning rate far too large is a failed run: epoch and step on the line, FAILED in MLflow, no result."""
    done = line("run", *TINY, "--set", "train.lr=1e30", "--set", "train.batch_size=64")
    refused(done, "the loss is nan at epoch 1, step 2 of 3", "a smaller train.lr", code=1)
    (folder,) = run_folders()
    assert not (folder / "result.json").exists()
    (row,) = track.list_run_rows(RunStore(Path("runs")))
    assert row["status"] == "FAILED"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB, where this machine lets tests mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    ) if os.geteuid() == 0 else None  # fmt: skip
    if made is None or made.returncode:
        pytest.skip(f"no small disk to be had: {made.stderr.strip() if made else 'not root'}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(small_disk: Path) -> None:
    """A checkpoint that does not fit is a failed run, one line, FAILED in MLflow; what is there stays whole."""
    uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    runs = small_disk / "runs"
    done = line("run", *TINY, "--runs", str(runs), "--tracking-uri", uri)
    refused(done, "cannot save the checkpoint: No space left on device", "make room", "same command", code=1)
    (folder,) = run_folders(runs)
    assert not (folder / "result.json").exists()
    assert not list((folder / "checkpoint").iterdir())
    (row,) = track.list_run_rows(RunStore(runs, uri))
    assert row["status"] == "FAILED"


def test_disk_that_is_full_for_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the checkpoint may find no room: any file of the run ends it in the same way."""

    def full(folder: Path, record: records.Record) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records, "append_record", full)
    refused(line("run", *TINY), "No space left on device", "make room", code=1)
    (row,) = track.list_run_rows(RunStore(Path("runs")))
    assert row["status"] == "FAILED"


@pytest.mark.parametrize(
    ("failure", "words", "code"),
    [
        (OSError(errno.ESTALE, os.strerror(errno.ESTALE), "images.bin"), "images.bin: Stale file handle", 2),
        (MemoryError("Unable to allocate 2.3 GiB for an array"), "out of memory: Unable to allocate 2.3 GiB", 1),
    ],
)
def test_a_machine_that_fails_is_no_bug(
    failure: Exception, words: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network drive that goes away or memory that ends in a training is one line, and Ctrl-C works as before."""
    handlers = [signal.getsignal(number) for number in STOP_SIGNALS]

    def fail(folder: Path, record: records.Record) -> None:
        raise failure

    monkeypatch.setattr(records, "append_record", fail)
    done = line("run", *TINY)
    assert done.code == code
    assert done.out == ""
    *before, problem, hint = done.err.splitlines()
    assert problem.startswith(f"Error: {words}")
    assert hint.startswith("  hint: ")
    assert not any(word in text for text in before for word in ("Error", "Traceback"))
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers


def test_read_only_disk(small_disk: Path) -> None:
    """A disk that takes nothing is told before anything begins."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(line("run", *TINY, "--runs", str(small_disk)), "Read-only file system", "--runs")


@pytest.mark.parametrize("words", ["run", "check", "sweep --attn se", "run --dataset clips --attn tam"])
def test_a_folder_that_nothing_would_read(words: str) -> None:
    """A folder of images without --dataset is no wish to train on the digits; beside a dataset that reads it, it is."""
    refused(line(*words.split(), "--data-root", "pictures"), "--data-root: the images of", "--dataset folder")
    assert not Path("runs").exists()
    several = ("sweep", "--attn", "se", "--dataset", "digits,cifar10", "--data-root", "pictures", "--dry-run")
    assert line(*several).code == 0
