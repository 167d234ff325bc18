"""Classify image files with the network of a run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from attncli.data.augmentation.crop_flip import send_to_device
from attncli.data.images.decode import Target, decode_image
from attncli.data.images.pixel_rules import DeepGreyError, PixelRules, choose_pixel_rules
from attncli.data.registry import choose_shown_share
from attncli.errors import UserError
from attncli.seeds import derive_seed
from attncli.train.distributed import choose_kernels, seed_everything
from attncli.train.random_state import kept_random_state
from attncli.trained.network import ImageClassifier, TrainedNetwork

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
BATCH = 32  # images


@dataclass(frozen=True)
class Prediction:
    """One image file, and its likeliest classes with their probabilities, the likeliest first."""

    file: Path
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def list_image_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and all image files in and below the folders. Raises UserError for what is not there."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UserError(f"{path}: no image files", f"known: {', '.join(sorted(SUFFIXES))}")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path}: no such file", "give image files or folders")
    return files


def predict_files(
    trained: TrainedNetwork,
    files: Sequence[Path],
    top: int = 5,
    device: torch.device | None = None,
    on_unreadable: Callable[[UserError], None] | None = None,
) -> list[Prediction]:
    """Return the `top` classes of every file, cropped and resized as the run's test images were.

    The network is moved to `device`; None leaves it where it is. `on_unreadable` gets the error of each file that is no
    image, and the file is left out; without it the error is raised.
    Raises UserError for a file that is no image, and for runs on clips.
    """
    if trained.frames is not None:
        raise UserError(f"{trained.name} classifies clips, not images", "choose a run on still images")
    share = choose_shown_share(trained.recipe.data)
    device = device or next(trained.net.parameters()).device
    target, classifier = Target(*trained.size, share=share), ImageClassifier(trained).to(device).eval()
    choose_kernels(device, "fp32")
    rules = choose_pixel_rules(trained.recipe.data)
    rules = replace(rules, grey_range=rules.grey_range or trained.grey_range)
    predictions: list[Prediction] = []
    for start in range(0, len(files), BATCH):
        batch = _read_batch(files[start : start + BATCH], target, rules, on_unreadable)
        if not batch:
            continue
        images = torch.stack([image for _, image in batch])
        probabilities = _compute_probabilities(classifier, images, device, trained.recipe.seed)
        best = probabilities.topk(min(top, len(trained.classes)), dim=1)
        predictions += [
            Prediction(file, tuple(trained.classes[i] for i in indices), tuple(values))
            for (file, _), indices, values in zip(batch, best.indices.tolist(), best.values.tolist(), strict=True)
        ]
    return predictions


def _compute_probabilities(
    classifier: ImageClassifier, images: torch.Tensor, device: torch.device, seed: int
) -> torch.Tensor:
    """Return the probabilities (N, classes); a network that draws random numbers draws the same ones in every call."""
    with torch.inference_mode(), kept_random_state(device):
        seed_everything(derive_seed(seed, "predict"), device)
        logits: torch.Tensor = classifier(send_to_device(images, device))
        return logits.softmax(1).cpu()


def _read_batch(
    files: Sequence[Path], target: Target, rules: PixelRules, on_unreadable: Callable[[UserError], None] | None
) -> list[tuple[Path, torch.Tensor]]:
    """Return the files that can be read, with their images (3, H, W)."""
    images: list[tuple[Path, torch.Tensor]] = []
    for file in files:
        try:
            images.append((file, _read_image(file, target, rules)))
        except UserError as error:
            if on_unreadable is None:
                raise
            on_unreadable(error)
    return images


def _read_image(file: Path, target: Target, rules: PixelRules) -> torch.Tensor:
    try:
        pixels = decode_image(file, target, rules).pixels
    except DeepGreyError as error:
        raise UserError(
            f"{file}: 16 bits per pixel, and the run has not recorded which values are black and white",
            "convert it to 8 bits, as the run's own images were shown",
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: cannot be read as an image: {reason}", "leave it out") from error
    return torch.from_numpy(np.array(pixels)).movedim(-1, 0).float() / 255
