"""The short names of recipe keys that the command line and the Python interface share."""

SHORTCUT_KEYS = {
    "attn": "model.attn",
    "backbone": "model.backbone",
    "pretrained": "model.pretrained",
    "dataset": "data.name",
    "data_root": "data.root",
    "image_size": "data.image_size",
    "epochs": "train.epochs",
    "seed": "seed",
}
