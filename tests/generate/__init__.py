"""Generators of the files that are made from the mechanisms and backbones: `make generate` runs them."""
