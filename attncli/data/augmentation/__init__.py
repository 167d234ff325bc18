"""Random changes of training images: crops, flips, mixup, erasing, RandAugment."""
