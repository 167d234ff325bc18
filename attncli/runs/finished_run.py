"""A finished run in one form, wherever it was read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attncli.recipe import Recipe
from attncli.records import Result
from attncli.track.predictions import ImagePredictions, read_predictions
from attncli.track.provenance import read_provenance
from attncli.track.tags import name_images


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run: its recipe, its result, and where it was recorded.

    `dataset` is the recipe's, unless the user says whose images the runs on `folder` used. `folder` is None if only
    MLflow has the run; its result then lacks what MLflow does not keep. `is_imported` is true for a run of a file of
    results: its folder is gone when the command ends. `folder_name` names the user's own images of a recipe that does
    not say any more where they lie. `started_ms` is MLflow's, for a run that only MLflow has. `other_predictions` is
    None unless the result is that of evaluations on other images than the test set: then it holds their predictions.
    """

    recipe: Recipe
    result: Result
    dataset: str
    experiment: str
    folder: Path | None
    is_imported: bool = False
    folder_name: str = ""
    started_ms: int = 0  # since 1970
    other_predictions: Sequence[ImagePredictions] | None = None

    def read_predictions(self) -> ImagePredictions | None:
        """Return the predictions that the result counts, or None if there are none or those of several evaluations."""
        if self.other_predictions is not None:
            return self.other_predictions[0] if len(self.other_predictions) == 1 else None
        return None if self.folder is None else read_predictions(self.folder)

    def find_start_ms(self) -> int:
        """Return when the run began, in milliseconds since 1970, or 0 if nothing says so."""
        provenance = None if self.folder is None else read_provenance(self.folder)
        return self.started_ms if provenance is None else provenance.started_ms

    @property
    def digest(self) -> str:
        """The digest of the recipe, which names the run."""
        return self.result.digest

    @property
    def images(self) -> str:
        """The dataset's name; for the user's own images the name of their folder."""
        if self.dataset != self.recipe.data.name:
            return self.dataset
        return self.folder_name or name_images(self.recipe)

    def is_on(self, name: str | None) -> bool:
        """Return whether the run is on the dataset, or on the user's images, of this name; None is every one."""
        return name in (None, self.dataset, self.images)

    @property
    def reference(self) -> str:
        """MLflow's id of the run, or its digest if it was never in MLflow."""
        return self.result.run_id or self.result.digest
