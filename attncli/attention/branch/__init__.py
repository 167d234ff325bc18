"""Mechanisms of the category branch, one file each."""
