"""Figures in print, and how far they are from ours."""
