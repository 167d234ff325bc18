"""Mechanisms of the category channel-spatial, one file each."""
