"""attncli: fair, fast ablations of attention blocks for image classification."""

__version__ = "0.1.0"
