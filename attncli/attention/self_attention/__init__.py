"""Mechanisms of the category self-attention, one file each."""
