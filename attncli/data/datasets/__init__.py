"""One file a dataset: its first line describes it, `read(data, place)` tells what it holds."""
