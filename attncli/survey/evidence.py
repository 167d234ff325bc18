"""What claims are judged by, gathered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attncli import backbones
from attncli.survey.exact import Counts
from attncli.survey.finished import Trained, trained
from attncli.survey.speeds import Speeds

FOLDER = "folder"  # the dataset that says nothing about what its images are


@dataclass(frozen=True)
class Evidence:
    """Counts, speeds and finished runs; with `backbone`, what is measured is read with that network."""

    counts: Counts
    speeds: Speeds
    runs: Sequence[Trained] = ()
    backbone: str | None = None
    told: Callable[[str], None] = field(default=lambda _: None)  # the id of the claim that is being judged


def gather(
    runs: Path,
    uri: str | None = None,
    *,
    backbone: str | None = None,
    folder_is: str | None = None,
    measure: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """The evidence in the folder `runs`, and in the MLflow store `uri` where one is given.

    `folder_is` names the dataset whose images the runs on `folder` used. With `measure`, speeds are timed anew.
    Raises UserError for an unknown backbone and for a store that does not answer.
    """
    if backbone is not None:
        backbones.family(backbone)
    found = trained(runs, uri)
    if folder_is is not None:
        found = [replace(run, dataset=folder_is) if run.dataset == FOLDER else run for run in found]
    return Evidence(Counts(), Speeds(runs, measure), found, backbone, told)
