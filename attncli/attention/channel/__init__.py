"""Mechanisms of the category channel, one file each."""
