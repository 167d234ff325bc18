"""What to do with the network of a finished run: load it alone, export it, predict with it, evaluate it elsewhere."""

from attncli.trained.network import ImageClassifier, TrainedNetwork, load_trained_network

__all__ = ["ImageClassifier", "TrainedNetwork", "load_trained_network"]
