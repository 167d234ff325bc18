"""What the attention of a trained network does to images: found out here (torch), drawn in `attncli.report`."""

from attncli.sight.restore import Trained, baseline_of, restore
from attncli.sight.study import Image, Study, study
from attncli.sight.view import Spread, View

__all__ = ["Image", "Spread", "Study", "Trained", "View", "baseline_of", "restore", "study"]
