"""The report page as a reader meets it: one file, opened in a browser without a server."""

from pathlib import Path

import pytest

from attncli import records
from tests.browser import driver
from tests.claims.case import pairs
from tests.commands.line import line
from tests.track.recorded_runs import epoch

pytestmark = pytest.mark.skipif(bool(driver.missing()), reason=driver.missing() or "there is a browser")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on three seeds of two networks."""
    path = tmp_path_factory.mktemp("report") / "runs"
    pairs(path, "eca", [0.91, 0.92, 0.90], [0.90, 0.905, 0.893])
    for place in path.iterdir():
        for i in (1, 2):
            records.append_record(place, epoch(i))
    done = line("report", "--attn", "eca", "--no-track", "--runs", str(path))
    assert done.code == 0, done.err
    return Path(done.out.strip())


@pytest.mark.parametrize("width", [1300, 500])
def test_the_page_shows_runs_claims_and_figures(report, width):
    """It has the runs' table, drawn figures and the claims, asks nobody for anything, and is no wider than the window.

    500 pixels are the narrowest window that Chromium makes.
    """
    with driver.page(width, 900) as page:
        page.open(report.absolute().as_uri())
        text = page.await_text("Runs", "Claims", "resnet20", "eca", "hold")
        assert "91.00" in text
        widths = page.run("return [...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width)")
        assert len([w for w in widths if w > 150]) >= 2
        loaded = page.run("return performance.getEntriesByType('resource').map(r => r.name)")
        assert [name for name in loaded if not name.startswith("data:")] == []
        assert page.run("return document.documentElement.scrollWidth <= window.innerWidth + 1")
