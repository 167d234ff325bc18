"""The predicted class of every test image of a run: runs/<digest>/predictions.npz.

The file has two arrays in the order of the test set, `predicted` and `labels`, of the smallest unsigned integers that
hold the classes (10,000 images of 10 classes take about 10 kB); an image on which the network gave no finite loss has
the number of classes as `predicted`, which is none. From them the error by the choice of test images can
be told apart from the error by the choice of seeds.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.system.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

PREDICTIONS_FILE = "predictions.npz"
# What numpy and zipfile raise for an empty file, an array in place of an archive, an encrypted one, broken contents
_DAMAGES = (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class ImagePredictions:
    """Predicted and true classes (N,) of the test images of one run."""

    predicted: "np.ndarray"
    labels: "np.ndarray"

    def mark_correct(self) -> "np.ndarray":
        """Return for each test image whether its class was predicted, (N,) bool."""
        correct: np.ndarray = self.predicted == self.labels
        return correct


def write_predictions(folder: Path, predicted: "np.ndarray", labels: "np.ndarray", classes: int) -> None:
    """Write the predictions of a run: predicted and true classes (N,), integers below `classes`.

    `classes` itself is the prediction of an image without a finite loss.
    """
    import numpy as np

    smallest = np.min_scalar_type(int(max(classes - 1, predicted.max(initial=0))))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, predicted=predicted.astype(smallest), labels=labels.astype(smallest))
    write_atomically(folder / PREDICTIONS_FILE, buffer.getvalue())


def read_predictions(folder: Path) -> ImagePredictions | None:
    """Return the predictions in a run's folder, or None if there are none or they are damaged."""
    import numpy as np

    try:
        with np.load(folder / PREDICTIONS_FILE) as arrays:
            predicted, labels = arrays["predicted"], arrays["labels"]
    except _DAMAGES:
        return None
    is_usable = predicted.ndim == 1 and predicted.shape == labels.shape
    return ImagePredictions(predicted, labels) if is_usable else None
