"""Mechanisms of the category spatial, one file each."""
