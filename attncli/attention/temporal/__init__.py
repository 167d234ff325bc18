"""Mechanisms of the category temporal, one file each."""
