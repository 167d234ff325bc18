"""Readers of dataset files: image folders, label files, Parquet, torchvision datasets, downloads."""
