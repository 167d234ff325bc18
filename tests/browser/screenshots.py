"""README's pictures, taken from real runs: `make screenshots RUNS=runs`.

    python -m tests.browser.screenshots --runs runs --run eca-resnet20-s0 --out recipes/results

The dashboard's runs and charts of the experiment with most runs, a run's page, a sheet of `attncli look`, and the
report page where one is given. Every picture is below 200 KB.
"""

import argparse
import io
import time
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from attncli import track
from attncli.runs import find_run_folder
from attncli.track import RunStore, dashboard
from tests.browser import driver

MOST_BYTES = 200_000
FIGURE = "classes.png"  # of a run, shown among its artifacts
SETTLE_S = 3.0  # charts grow into place
HIDE_PATHS = """
for (const e of document.querySelectorAll('*'))
  if (!e.children.length && /^(Path: *)?file:/.test(e.textContent.trim())) e.style.visibility = 'hidden';
"""


def main() -> None:
    """Take the pictures that the command line asks for."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--runs", type=Path, default=Path("runs"))
    ask.add_argument("--run", default="", help="the run to show, by name or digest; default: the best one")
    ask.add_argument("--image", default="*", help="the test image whose sheet to show, by its number")
    ask.add_argument("--report", type=Path, help="a page of `attncli report` to show as well")
    ask.add_argument("--out", type=Path, default=Path("recipes/results"))
    given = ask.parse_args()
    if driver.missing():
        raise SystemExit(f"no pictures: {driver.missing()}")
    given.out.mkdir(parents=True, exist_ok=True)
    of_dashboard(given.runs, given.run, given.out)
    sheets = sorted((_folder(given.runs, given.run) / "look").glob(f"look-{given.image}.png"))
    if sheets:
        save(Image.open(sheets[0]), given.out / "look.png", width=1100)
    if given.report:
        of_report(given.report, given.out)


def of_dashboard(runs: Path, run: str, out: Path) -> None:
    """The list of runs, the charts, a run's page and its figures."""
    digest = _folder(runs, run).name
    row = next(r for r in track.list_run_rows(RunStore(runs)) if r["digest"] == digest)
    dashboard.prepare_views(RunStore(runs))
    with dashboard.serve_dashboard(RunStore(runs), 0) as address, driver.page(1500, 900) as page:
        links = dashboard.list_view_links(address, RunStore(runs))
        at = next(i for i, (name, _) in enumerate(links) if name == row["experiment"])
        _shot(page, links[at][1], row["name"], out / "mlflow-runs.png", height=520)
        _shot(page, links[at + 1][1], "overhead/params_pct", out / "mlflow-charts.png")
        number = urlsplit(links[at][1]).fragment.split("/")[2]
        here = f"{address}/#/experiments/{number}/runs/{row['run_id']}"
        _shot(page, f"{here}?workflowType=machine_learning", "Description", out / "mlflow-run.png", click="Show more")
        _shot(page, f"{here}/artifacts?workflowType=machine_learning", FIGURE, out / "mlflow-figures.png", click=FIGURE)


def of_report(path: Path, out: Path) -> None:
    """The top of the report page."""
    with driver.page(1300, 1000) as page:
        page.open(path.absolute().as_uri())
        page.await_text("attncli")
        time.sleep(SETTLE_S)
        page.screenshot(out / "report.png")
    save(Image.open(out / "report.png"), out / "report.png")


def save(picture: Image.Image, path: Path, width: int | None = None) -> None:
    """Write a PNG of a palette of 256 colours, smaller until it is below MOST_BYTES."""
    picture = picture.convert("RGB")
    width = min(width or picture.width, picture.width)
    while True:
        size = (width, round(picture.height * width / picture.width))
        small = picture.resize(size, Image.Resampling.LANCZOS).quantize(256, kmeans=3, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        if len(buffer.getvalue()) < MOST_BYTES:
            path.write_bytes(buffer.getvalue())
            print(f"{path}  {width} x {size[1]} px, {len(buffer.getvalue()) // 1000} KB")
            return
        width = round(width * 0.9)


def _folder(runs: Path, run: str) -> Path:
    if run:
        return find_run_folder(runs, run)
    rows = [r for r in track.list_run_rows(RunStore(runs), status="FINISHED") if r["attn"] != "none"]
    return runs / max(rows, key=lambda r: r["test_top1"] or 0.0)["digest"]


def _shot(page: driver.Page, link: str, wanted: str, path: Path, click: str = "", height: int = 0) -> None:
    """Open a view, wait for what must stand there, click, and take the picture as a user gets it, without paths."""
    page.open("about:blank")  # so that a change behind the # loads the page anew
    page.open(link)
    page.await_text(wanted)
    time.sleep(SETTLE_S)
    page.run(HIDE_PATHS)
    if click:
        page.click(click)
    time.sleep(SETTLE_S)
    page.run(HIDE_PATHS)
    page.screenshot(path)
    picture = Image.open(path)
    save(picture.crop((0, 0, picture.width, height)) if height else picture, path)


if __name__ == "__main__":
    main()
