"""A sweep: axes over a recipe, expanded into recipes in the order in which to run them. No torch.

    recipe:                      # a base recipe by name or file (relative to this one), its own keys, or both
      base: cifar10-resnet20
      train: {epochs: 10}
    axes:                        # every combination
      attn: [se, {attn: eca, options: {k: 3}}, {category: spatial}]
      backbone: [resnet20, resnet56]
      train.lr: [0.1, 0.3]       # any key of a recipe
      seeds: 3                   # 0, 1, 2; or a list
    include:                     # more runs, each with all backbones, datasets and seeds that it does not set itself
      - {attn: [vit, multi-head-external], train.optimizer: adamw, train.lr: 1e-3}
    exclude:                     # combinations to leave out; a list means any of its values
      - {attn: [ram, vit], backbone: resnet56}

The plain network of every run is always included, with the same seed, because a mechanism's results mean nothing
without it. The order is seed by seed, baselines first, so that a sweep stopped half-way has complete pairs.
"""

from attncli.sweep.load import MechanismList, Sweep, read
from attncli.sweep.ordering import make_titles, order_recipes

__all__ = ["MechanismList", "Sweep", "make_titles", "order_recipes", "read"]
