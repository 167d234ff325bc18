"""Benchmarks of attncli against plain loops and other libraries: `attncli bench`."""
