"""The dashboard as a reader meets it: in a browser, on a real server with the store of real records."""

import pytest

from attncli import track
from attncli.report.run_figures import draw_records
from attncli.track import RunStore, dashboard
from tests.browser import driver
from tests.track.recorded_runs import FACTS, WHOLE, folder, recipe

pytestmark = pytest.mark.skipif(bool(driver.missing()), reason=driver.missing() or "there is a browser")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs with their pictures, eca's with one of `attncli look`."""
    from attncli import records

    path = tmp_path_factory.mktemp("dash") / "runs"
    tracker = track.Tracker.open(RunStore(path))
    for attn in ("eca", "none"):
        of = recipe(attn)
        place = folder(path, of)
        live = tracker.start_run(of, FACTS, {"cpu": "test"}, folder=place)
        for record in WHOLE:
            records.append_record(place, record)
            live.log_record(record)
        made = draw_records(place, FACTS.classes, attn)
        if attn == "eca":
            (place / "look").mkdir()
            (place / "look" / "attention.png").write_bytes(made[0].read_bytes())
        assert live.end_run("FINISHED") is None
    return path


@pytest.fixture(scope="module")
def address(runs):
    """A dashboard on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with dashboard.serve_dashboard(RunStore(runs), 0) as url:
            yield url


@pytest.fixture(scope="module")
def page():
    """A window."""
    with driver.page(1500, 950) as found:
        yield found


def test_the_view_lists_runs_with_the_columns_that_matter(page, address, runs):
    """The link that `attncli ui` prints opens the runs by name, with the question and the chosen columns."""
    (name, table), (_, charts) = dashboard.list_view_links(address, RunStore(runs))
    assert name == "digits-resnet18"
    page.open(table)
    text = page.await_text(
        "eca-resnet18-s0", "none-resnet18-s0", "What do attention mechanisms do for resnet18 on digits"
    )
    for column in ("attn", "seed", "test/top1"):
        assert column in text
    assert "train_ratio_low" not in text
    page.open(charts)
    page.await_text("Accuracy and what it costs", "overhead/params_pct")


def test_a_run_opens_with_its_description_and_figures(page, address, runs):
    """From the list a click opens the run: what it is, how to do it again; its pictures load."""
    page.open(dashboard.list_view_links(address, RunStore(runs))[0][1])
    page.await_text("eca-resnet18-s0")
    page.click("eca-resnet18-s0")
    page.await_text("Description", "eca in resnet18", "ECA-Net", "val/top1")
    here = page.run("return location.href").split("?")[0].rstrip("/")
    page.open(f"{here}/artifacts")
    page.await_text("curves.png", "confusion.png", "classes.png", "look", "recipe.yaml")
    for name in ("curves.png", "confusion.png", "classes.png"):
        page.click(name)
        assert page.await_image(200) >= 200, name
