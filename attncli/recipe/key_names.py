"""The recipe key that a word means: `--lr` and `learning_rate` mean train.lr, `imgsz` data.image_size."""

import difflib
from functools import cache

from attncli.errors import fold_name
from attncli.recipe.recipe import Recipe

SYNONYMS = {  # what the scripts of other projects call the keys
    "learning_rate": "train.lr",
    "base_lr": "train.lr",
    "wd": "train.weight_decay",
    "batch": "train.batch_size",
    "bs": "train.batch_size",
    "opt": "train.optimizer",
    "optim": "train.optimizer",
    "scheduler": "train.schedule",
    "lr_scheduler": "train.schedule",
    "sched": "train.schedule",
    "warmup": "train.warmup_epochs",
    "smoothing": "train.label_smoothing",
    "clip_grad": "train.clip_norm",
    "amp": "train.precision",
    "dtype": "train.precision",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "model_ema": "train.ema",
    "num_epochs": "train.epochs",
    "max_epochs": "train.epochs",
    "attention": "model.attn",
    "att": "model.attn",
    "attn_layer": "model.attn",
    "arch": "model.backbone",
    "model_name": "model.backbone",
    "net": "model.backbone",
    "network": "model.backbone",
    "weights": "model.pretrained",
    "finetune": "model.pretrained",
    "dataset": "data.name",
    "data_dir": "data.root",
    "data_path": "data.root",
    "dataset_path": "data.root",
    "img_size": "data.image_size",
    "input_size": "data.image_size",
    "imgsz": "data.image_size",
    "resolution": "data.image_size",
    "num_classes": "data.classes",
    "nb_classes": "data.classes",
    "reprob": "data.erase",
    "random_erasing": "data.erase",
    "val_split": "data.val_fraction",
    "random_seed": "seed",
    "manual_seed": "seed",
    "experiment_name": "experiment",
}
SECTIONS = ("data", "model", "train", "measure")
LEAST_SIMILARITY = 0.75


@cache
def list_recipe_keys() -> tuple[str, ...]:
    """Return every dotted key of a recipe, those of train first: they are what people set most often."""
    keys = []
    for section in ("train", "data", "model", "measure"):
        annotation = Recipe.model_fields[section].annotation
        keys += [f"{section}.{name}" for name in getattr(annotation, "model_fields", {})]
    return (*keys, *(name for name in Recipe.model_fields if name not in SECTIONS))


def find_recipe_key(word: str) -> str | None:
    """Return the dotted key that a word means, or None if it looks like none.

    Letter case, signs and dashes in front do not count, nor does a section that has no such key.
    """
    final_word = word.strip("-").rpartition(".")[2]
    whole, final = fold_name(word), fold_name(final_word)
    names = {fold_name(synonym): key for synonym, key in SYNONYMS.items()}
    for key in reversed(list_recipe_keys()):
        names[fold_name(key)] = key
        names[fold_name(key.rpartition(".")[2])] = key
    for folded in (whole, final):
        if folded in names and len(folded) > 1:
            return names[folded]
    similar = difflib.get_close_matches(final, names, n=1, cutoff=LEAST_SIMILARITY) if len(final) > 1 else []
    return names[similar[0]] if similar else None
