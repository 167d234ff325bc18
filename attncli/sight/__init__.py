"""What the attention of a trained network does to images: found out here (torch), drawn in `attncli.report`."""

from attncli.sight.restore import LoadedRun, load_baseline_run, load_finished_run
from attncli.sight.study import ImageAnalysis, AttentionAnalysis, analyze_attention
from attncli.sight.view import SiteDistribution, SiteView

__all__ = [
    "ImageAnalysis",
    "SiteDistribution",
    "AttentionAnalysis",
    "LoadedRun",
    "SiteView",
    "load_baseline_run",
    "load_finished_run",
    "analyze_attention",
]
