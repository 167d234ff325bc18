"""Analyze what the attention of a trained network does to images; `attncli.report` draws it."""

from attncli.interpret.analyze import AttentionAnalysis, ImageAnalysis, analyze_attention
from attncli.interpret.load_run import LoadedRun, load_baseline_run, load_finished_run
from attncli.interpret.observations import SiteDistribution, SiteView

__all__ = [
    "AttentionAnalysis",
    "ImageAnalysis",
    "LoadedRun",
    "SiteDistribution",
    "SiteView",
    "analyze_attention",
    "load_baseline_run",
    "load_finished_run",
]
