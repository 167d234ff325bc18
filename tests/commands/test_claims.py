"""`attncli claims`, `claims run`, `published` and `report`: what they print, and what they refuse."""

import json
import subprocess
import sys

import pytest

from tests.claims.case import claims_file, pairs
from tests.commands.line import line, refused

CHECKS = ("params(resnet20 + eca) - params(resnet20) == 27", "top1(resnet20 + eca) > top1(resnet20)")


@pytest.fixture(autouse=True)
def _two_claims(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    claims_file(tmp_path, *CHECKS, on="digits")


def test_table_details_and_programs():
    """A table, one claim in full, JSON and CSV of the same verdicts."""
    done = line("claims", "--file", "eca.yaml")
    assert done.code == 0
    assert "2 claims: 1 holds, 1 untested" in done.out
    assert "params(resnet20 + eca) = 269,749" in line("claims", "--file", "eca.yaml", "c0").out
    found = line("claims", "--file", "eca.yaml", "--json").json()
    assert [(v["id"], v["outcome"]) for v in found] == [("c0", "holds"), ("c1", "untested")]
    assert line("claims", "--file", "eca.yaml", "--csv").out.startswith("id,mechanism,kind,verdict")


def test_the_table_is_the_default_command():
    """`claims` and `claims table` are the same; `claims run` is another command with its own options."""
    assert line("claims", "--file", "eca.yaml").out == line("claims", "table", "--file", "eca.yaml").out
    assert "--verdict" in line("claims", "--help").out
    assert "--dry-run" in line("claims", "run", "--help").out


def test_filters():
    """By verdict, kind and mechanism."""
    assert [v["id"] for v in line("claims", "--file", "eca.yaml", "--verdict", "holds", "--json").json()] == ["c0"]
    assert "no claim has this verdict" in line("claims", "--file", "eca.yaml", "--verdict", "fails").out
    assert len(line("claims", "--file", "eca.yaml", "--attn", "eca", "--kind", "accuracy", "--json").json()) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("claims", "eca-parms"), ("unknown claim", "eca-params")),
        (("claims", "--verdict", "hold"), ("unknown verdict: 'hold'", "'holds'")),
        (("claims", "--kind", "speeed"), ("unknown kind", "'speed'")),
        (("claims", "--attn", "ecaa"), ("unknown mechanism", "'eca'")),
        (("claims", "--backbone", "resnet21"), ("unknown backbone", "did you mean 'resnet")),
        (("claims", "--folder-is", "CIFAR-10"), ("unknown dataset: 'CIFAR-10'", "'cifar10'")),
        (("claims", "run", "eca-parms"), ("unknown claim", "eca-params")),
        (("claims", "run", "eca-params"), ("no run tests this claim",)),
        (("claims", "run", "eca-acc-r50", "--seeds", "few"), ("--seeds few", "--seeds 5")),
        (("published", "--attn", "ecaa"), ("unknown attention", "'eca'")),
        (("report", "--attn", "ecaa"), ("unknown mechanism", "'eca'")),
        (("report", "--out", "report.md"), ("report.md", "end it in .html")),
    ],
)
def test_bad_input(words, told):
    """One line and a hint, exit code 2."""
    refused(line(*words), *told)


def test_what_is_missing_is_trained():
    """The plan first; then two networks are trained, after which the claim has its pair and nothing is left to do."""
    quick = ("--epochs", "1", "--set", "data.fraction=0.1", "--set", "measure.speed=false")
    command = ("claims", "run", "c1", "--file", "eca.yaml", *quick)
    planned = line(*command, "--seeds", "2", "--dry-run", "--json").json()
    assert [(run["attn"], run["seed"]) for run in planned] == [("eca", 0), ("none", 0), ("eca", 1), ("none", 1)]
    assert "images of digits: there" in line(*command, "--seeds", "2", "--dry-run").err
    done = line(*command, "--seeds", "1", "-q")
    assert done.code == 0, done.err
    assert "2 runs finished. Next: attncli claims c1" in done.out
    (found,) = line("claims", "c1", "--file", "eca.yaml", "--json").json()
    assert (found["outcome"], found["n"]) == ("undecided", 1)
    assert {run["status"] for run in line(*command, "--seeds", "1", "--dry-run", "--json").json()} == {"finished"}


def test_published():
    """A table within 80 columns that says where sources disagree, and the same for programs."""
    done = line("published", "--attn", "eca", "--backbone", "resnet50")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert "Sources that print the same network differently" in done.out
    rows = line("published", "--attn", "eca", "--backbone", "resnet50", "--json").json()
    params = next(row for row in rows if row["figure"] == "params" and row["dataset"] == "ImageNet-1k")
    assert params["ours"] == pytest.approx(25.557118)
    assert abs(params["highest_deviation"]) < 0.1


@pytest.mark.parametrize(
    ("options", "networks"),
    [
        (("--attn", "dcn"), {"small 4-conv CNN + dcn v1 @conv4"}),
        (("--attn", "stn"), {"CNN + stn affine", "Inception + BN, 224px + 2 x stn"}),
        (("--backbone", "wide_resnet28_10"), {"wide_resnet28_10", "wide_resnet28_10 + aa"}),
        (("--backbone", "resnext50_32x4d"), {"resnext50_32x4d + sk", "resnext50_32x4d + simam"}),
        (("--backbone", "resnext50"), {"resnext50_32x4d + simam"}),
    ],
)
def test_published_figures_under_the_names_of_sources(options, networks):
    """Forms of a mechanism, and networks that sources call otherwise, are among the figures."""
    assert networks <= {row["network"] for row in line("published", *options, "--json").json()}


def test_report(tmp_path):
    """The file's path on stdout and nothing else; the page and its Markdown are there."""
    pairs(tmp_path / "runs", "external", [0.91, 0.92], [0.90, 0.905])
    done = line("report", "--attn", "external", "--no-track")
    assert (done.code, done.out) == (0, "runs/report.html\n")
    assert "</html>" in (tmp_path / "runs" / "report.html").read_text()
    assert (tmp_path / "runs" / "report.md").read_text().startswith("# ")
    assert line("report", "--attn", "external", "--no-track", "--out", "there/x.html").out == "there/x.html\n"


def test_a_report_replaces_reports_only(tmp_path):
    """The Markdown beside the page may be a file of the user; that of an earlier report is replaced."""
    pairs(tmp_path / "runs", "external", [0.91, 0.92], [0.90, 0.905])
    (tmp_path / "paper.md").write_text("# Paper\n\nattncli is what we used.\n")
    words = ("report", "--attn", "external", "--no-track", "--out")
    refused(line(*words, "paper.html"), "paper.md: no report", "--out")
    assert "what we used" in (tmp_path / "paper.md").read_text()
    for _ in range(2):
        assert line(*words, "again.html").code == 0


def test_a_report_of_another_store_names_it(tmp_path):
    """The command that makes the report again reads the same runs."""
    pairs(tmp_path / "runs", "external", [0.91, 0.92], [0.90, 0.905])
    store = f"sqlite:///{tmp_path / 'other.db'}"
    assert line("report", "--attn", "external", "--no-track", "--tracking-uri", store).code == 0
    assert f"--tracking-uri {store}" in (tmp_path / "runs" / "report.html").read_text()


def test_the_second_time_no_torch_is_loaded():
    """Once counted, claims are told without torch, MLflow or matplotlib."""
    assert line("claims", "--file", "eca.yaml").code == 0
    code = (
        "import sys; sys.argv[1:] = ['claims', '--file', 'eca.yaml', '--json']\n"
        "from attncli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'mlflow', 'matplotlib', 'scipy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["outcome"] == "holds"
