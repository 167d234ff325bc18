"""The commands that only tell: quick, in JSON where asked, readable in a terminal of 80 columns."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest

from attncli import __version__
from attncli.commands import cli
from attncli.commands.help import TOPIC_ORDER
from attncli.errors import UserError
from tests.claims.case import run
from tests.commands.line import line, refused
from tests.shared import ROOT

HEAVY = ("torch", "mlflow", "pydantic", "rich", "numpy", "yaml", "scipy", "matplotlib", "accelerate")


def modules(*words: str) -> set[str]:
    """The packages that a command has loaded when it ends well, in a process of its own."""
    code = (
        "import json, sys\nfrom attncli.__main__ import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", ["--help", "--version", "run --help", "measure --help", "bench --help", "claims --help", "help"]
)
def test_help_loads_nothing_heavy(words: str) -> None:
    """What answers in a fifth of a second imports none of the libraries that take longer."""
    assert modules(*words.split()) & set(HEAVY) == set()


@pytest.mark.parametrize("words", ["ls", "ls attention --json", "show eca --json", "check", "ls runs", "help start"])
def test_telling_loads_no_torch(words: str) -> None:
    """Lists and facts come without torch; an empty folder of runs has no use for MLflow either."""
    assert modules(*words.split()) & {"torch", "matplotlib", "accelerate"} == set()


def collect_paths(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, groups among them; () is attncli itself."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from collect_paths(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(collect_paths(cli)), ids=" ".join)
def test_every_help_text_names_its_topic_and_ends_in_examples(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each topic is a known one, and no line but an example's is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    done = line(*path, "--help")
    assert (done.code, done.err) == (0, "")
    text, examples = done.out.partition("Options:")[0].split("Example:\n")
    assert set(re.findall(r"`attncli help ([a-z-]+)`", text)) & set(TOPIC_ORDER)
    assert " ".join(("attncli", *path[:1])) in examples
    others = [shown for shown in done.out.splitlines() if shown not in examples.splitlines()]
    assert max(map(len, others)) <= 80


@pytest.mark.parametrize("path", [(), ("bench",), ("data",)], ids=" ".join)
def test_summaries_are_not_cut_off(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of a group has a summary."""
    monkeypatch.setenv("COLUMNS", "80")
    commands = line(*path, "--help").out.partition("Commands:")[2].strip().splitlines()
    assert all(len(shown.split()) > 2 for shown in commands if shown.startswith("  ") and shown[2] != " ")
    assert "..." not in "".join(commands)


def test_version() -> None:
    """The version is the package's."""
    assert line("--version").out == f"attncli, version {__version__}\n"


def test_nothing_asked_shows_help() -> None:
    """`attncli` alone is a question, not an error."""
    done = line()
    assert (done.code, done.out) == (0, line("--help").out)


def test_ls_attention_json() -> None:
    """The promised keys, each mechanism once, `none` first."""
    rows = line("ls", "attention", "--json").json()
    assert all(row.keys() == {"name", "category", "site", "title", "year", "params", "aliases"} for row in rows)
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names))
    assert names[0] == "none"
    assert {"eca", "se", "srm", "cbam", "triplet", "simam", "sk", "gct", "bam", "self-attention"} <= set(names)
    title = "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks"
    eca = {"name": "eca", "category": "channel", "site": "gate", "title": title, "year": 2020, "params": 86}
    assert rows[names.index("eca")].items() >= eca.items()


def listed(*words: str) -> set[str]:
    """The names that `ls attention` with filters prints."""
    return {row["name"] for row in line("ls", "attention", *words, "--json").json()}


def test_mechanisms_are_filtered() -> None:
    """By category, site, years, peers and parameters; several filters must all hold, and `none` passes none."""
    everything = line("ls", "attention", "--json").json()[1:]
    by_name = {row["name"]: row for row in everything}
    assert listed("--category", "branch,channel") == {
        n for n, r in by_name.items() if r["category"] in ("branch", "channel")
    }
    assert listed("--site", "join") == {"highway", "aff"}
    for years, first, last in (
        ("2021-", 2021, 9999),
        ("-2017", 0, 2017),
        ("2019-2020", 2019, 2020),
        ("2018", 2018, 2018),
    ):
        assert listed("--year", years) == {n for n, r in by_name.items() if first <= r["year"] <= last}
    assert listed("--peer", "holocron") == {"lambda", "involution", "triplet"}
    assert (
        {"eca", "sa", "mca", "simam", "sge"}
        <= listed("--free")
        < {n for n, r in by_name.items() if 0 <= (r["params"] or 0) < 25_558}
    )
    assert listed("--free", "--peer", "timm", "--site", "gate") == {"eca"}
    assert listed("--year", "1990") == set()
    assert line("ls", "attention", "--year", "1990").out == "no mechanism passes these filters\n"


def test_mechanisms_are_sorted() -> None:
    """By any of the columns; what has no parameters to count comes last."""
    for key in ("name", "year", "params"):
        values = [row[key] for row in line("ls", "attention", "--category", "spatial", "--sort", key, "--json").json()]
        known = [value for value in values if value is not None]
        assert known == sorted(known)
        assert values[: len(known)] == known


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["attention", "--category", "chanel"], "channel"),
        (["attention", "--site", "gat"], "gate"),
        (["attention", "--peer", "tim"], "timm"),
        (["attention", "--year", "new"], "2021"),
        (["attention", "--year", "-"], "2021"),
        (["data", "--free"], "ls attention"),
    ],
)
def test_wrong_filters_are_refused(words: list[str], told: str) -> None:
    """In one line with the nearest name or an example, and exit code 2."""
    done = line("ls", *words)
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("backbones", {"name", "family", "params", "sites"}, "resnet20"),
        ("data", {"name", "what"}, "digits"),
        ("recipes", {"recipe", "name", "kind", "what"}, "recipes/quickstart.yaml"),
    ],
)
def test_ls_json(kind: str, keys: set[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list has one object a line, the first key naming it."""
    monkeypatch.chdir(ROOT)
    rows = line("ls", kind, "--json").json()
    assert all(row.keys() == keys for row in rows)
    assert told in {next(iter(row.values())) for row in rows}
    assert all(row["what"] for row in rows if "what" in row)


def test_ls_counts() -> None:
    """Without a word: how many there are of each, the same in both forms."""
    counts = line("ls", "--json").json()
    assert counts["attention"] == len(line("ls", "attention", "--json").json()) - 1  # without none
    assert counts["recipes"] + counts["sweeps"] == len(line("ls", "recipes", "--json").json())
    assert counts["runs"] == 0
    assert line("ls", "mechanisms", "--json").json() == line("ls", "attention", "--json").json()
    sweeps = [row for row in line("ls", "sweeps", "--json").json() if row["kind"] == "sweep"]
    assert len(sweeps) == counts["sweeps"]
    assert [text.split() for text in line("ls").out.splitlines()] == [[str(n), kind] for kind, n in counts.items()]


def test_lists_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mechanism a line, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = line("ls", "attention").out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [text.split()[0] for text in lines if text.strip() and not text.lstrip().startswith("─")]
    assert shown[1:] == [row["name"] for row in line("ls", "attention", "--json").json()]


def test_empty_lists_say_what_makes_one() -> None:
    """No runs yet is no error, and nothing is created by asking."""
    assert line("ls", "runs").out == "no runs yet\n"
    assert line("ls", "runs", "--json").json() == []
    assert line("compare", "--json").json() == []
    assert "attncli run" in line("compare").out
    assert not Path("runs").exists()


def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The maths of the file, the paper, the place, the options and the published figures, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    text = line("show", "eca").out
    for told in ("k nearest channels", "ECA-Net: Efficient", "arXiv 1910.03151", "Site      gate", "gamma", "resnet50"):
        assert told in text
    below_the_maths = text[text.index("\nPaper ") :]
    assert max(map(len, below_the_maths.splitlines())) <= 80
    shown = line("show", "eca", "--json").json()
    assert (shown["name"], shown["category"], shown["site"]) == ("eca", "channel", "gate")
    assert shown["options"].keys() == {"k", "gamma", "b", "circular", "mlp"}
    assert "channels" in shown["facts"]


def test_check() -> None:
    """The whole recipe on stdout, as a recipe that gives the same digest again; the verdict and more on stderr."""
    done = line("check", "--attn", "eca", "--set", "train.lr=1e-3", "--seed", "2")
    whole = line("check", "--attn", "eca", "--set", "train.lr=1e-3", "--seed", "2", "--json").json()
    assert f"its run is {whole['digest']} (new" in done.err
    assert "these options" in done.err
    assert "these options" not in line("check").err
    assert (whole["status"], whole["images"]) == ("new", "there")
    assert whole["recipe"]["train"]["lr"] == 0.001
    Path("again.yaml").write_text(done.out)
    assert line("check", "again.yaml", "--json").json() == whole
    absent = line("check", "--dataset", "folder", "--data-root", "nowhere", "--image-size", "32", "--json").json()
    assert absent["images"].startswith("not here (nowhere: no such folder)")
    refused(line("check", str(ROOT / "recipes/sweeps/channel.yaml")), "attncli sweep", errors=2)


def test_schema() -> None:
    """The schema that editors take is JSON and knows the sections."""
    schema = line("check", "--schema").json()
    assert {"data", "model", "train", "measure", "seed"} <= schema["properties"].keys()


def test_measure() -> None:
    """One object a mechanism without accuracies; counts against the plain network; what does not fit says why."""
    rows = line("measure", "--attn", "none,se,eca,tam", "--backbone", "resnet20", "--no-speed", "--json").json()
    found: dict[str, Any] = {row["attn"]: row for row in rows}
    assert list(found) == ["none", "se", "eca", "tam"]
    keys = {"attn", "backbone", "params", "baseline_params", "macs", "baseline_macs", "train_images_per_s",
            "infer_images_per_s", "train_ratio", "infer_ratio"}  # fmt: skip
    assert all(keys <= row.keys() and not any("top1" in key for key in row) for row in rows)
    assert found["none"]["params"] == found["se"]["baseline_params"] == 269_722
    # 2 C C / 16 weights of two linear maps without bias, three blocks each of 16, 32 and 64 channels
    assert found["se"]["params"] - found["se"]["baseline_params"] > found["eca"]["params"] - 269_722 == 27
    assert found["se"]["train_ratio"] is None


def test_measure_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a mechanism in 80 columns; the caption on stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    done = line("measure", "--attn", "se,bam", "--backbone", "resnet20", "--no-speed")
    assert max(map(len, done.out.splitlines())) <= 80
    assert [text.split()[0] for text in done.out.splitlines() if text.startswith((" se", " bam"))] == ["se", "bam"]
    assert "269,722 parameters" in done.err
    assert max(map(len, done.err.splitlines())) <= 80


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is looked at and well here; the same facts as JSON; nothing is created by looking."""
    monkeypatch.setenv("COLUMNS", "80")
    findings = {f["what"]: f for f in line("doctor", "--json").json()}
    assert findings.keys() == {
        "python", "packages", "extras", "device", "precision", "attention", "data root", "runs", "store",
    }  # fmt: skip
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    assert all(name in findings["extras"]["found"] for name in extras)
    assert all(f["ok"] for f in findings.values()), findings
    text = line("doctor").out
    assert all(what in text for what in findings)
    unbroken = [row for row in text.splitlines() if len(row) > 80]
    assert all(row.split()[-1].startswith("sqlite:///") for row in unbroken), "a path is not broken"
    assert not Path("runs").exists()


def test_doctor_with_a_bad_finding() -> None:
    """One bad finding does not hide the others, has a hint, and makes the exit code 1."""
    Path("file").touch()
    done = line("doctor", "--runs", "file/runs")
    assert done.code == 1
    assert "BAD  runs" in done.out
    assert "hint:" in done.out
    assert "ok   precision" in done.out


@pytest.mark.slow
def test_ui() -> None:
    """The dashboard starts on a store, answers, and is gone again."""
    done = line("ui", "--port", "0", "--check")
    assert done.code == 0, done.err
    assert done.out.startswith("dashboard: http://127.0.0.1:")


def test_ui_without_its_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refuses to be written still has its dashboard; what the user can repair is an error."""
    from attncli.track import dashboard

    def fail(error: Exception) -> None:
        monkeypatch.setattr(dashboard, "prepare_views", lambda _: (_ for _ in ()).throw(error))

    monkeypatch.setattr(dashboard, "serve_dashboard", lambda *_: nullcontext("http://127.0.0.1:1"))
    monkeypatch.setattr(dashboard, "list_view_links", lambda *_: [("runs", "http://127.0.0.1:1/#/experiments/1")])
    fail(PermissionError("no write access"))
    done = line("ui", "--check")
    assert done.code == 0
    assert "no write access" in done.err
    assert done.out.splitlines()[0] == "dashboard: http://127.0.0.1:1"
    fail(UserError("the store does not answer", "start it"))
    refused(line("ui", "--check"), "the store does not answer")


def test_reader_that_leaves() -> None:
    """`attncli ls attention | head -1` ends quietly."""
    words = f"{sys.executable} -m attncli ls attention --json | head -c 1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[", "")


def test_one_is_told_in_the_singular() -> None:
    """One recipe, one sweep and one run in the overview, beside the names that have no plural."""
    from attncli.commands.ls import _format_count

    run(Path("runs"), attn="none", seed=0, top1=0.5)
    assert "   1 run" in line("ls").out.splitlines()
    assert _format_count("sweeps", 2) == "   2 sweeps"
    assert _format_count("attention", 1) == "   1 attention"


@pytest.mark.parametrize("format_", ["table", "markdown", "latex"])
def test_one_blank_line_is_between_tables(format_: str) -> None:
    """Of the places and the sums of the stages, and none before or after them."""
    out = line("sites", "--attn", "eca", "--backbone", "resnet20", "--image-size", "32", "--format", format_).out
    assert out.count("\n\n") == 1
    assert out == out.strip("\n") + "\n"
