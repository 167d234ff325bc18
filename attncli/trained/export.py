"""Write the network of a run to a file that other programs read, and check the file by loading it back."""

import importlib
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from attncli.errors import RunFailedError, UserError
from attncli.model import InputSpec
from attncli.model.host_generators import seeded_generators
from attncli.recipe import Recipe
from attncli.seeds import derive_seed
from attncli.system.files import written_aside
from attncli.track.own_code import list_changed_code, name_own_code
from attncli.trained.network import ImageClassifier, TrainedNetwork, build_without_pretrained

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-3  # largest difference of a logit; other kernels add in another order
CHECKED_IMAGES = 2


def export_network(trained: TrainedNetwork, format_: str, path: Path) -> dict[str, Any]:
    """Write a run's network to `path` in one of SUFFIXES, load it back, and compare its logits on random images.

    safetensors holds the weights by name, with recipe, classes, mean and std as metadata. The other two are programs
    that take images from 0 to 1, (N, 3, H, W), and normalise them.

    Returns:
        format, file, bytes, input shape, classes and the largest difference of a logit.

    Raises:
        UserError: the format's package is not installed, the file exists, or cannot be written.
        RunFailedError: the network cannot be exported, or the file gives other logits.
    """
    if format_ == "onnx" and (missing := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]):
        raise UserError(f"--to onnx: {' and '.join(missing)} not installed", "pip install 'attncli[onnx]'")
    if path.exists():
        raise UserError(f"{path} exists", "--out FILE names another")
    images = _draw_images(trained)
    classifier = ImageClassifier(trained).eval()
    expected = _compute_logits(classifier, images)
    if format_ == "onnx" and not torch.allclose(expected, _compute_logits(classifier, images, 1), equal_nan=True):
        raise UserError(
            f"--to onnx: {trained.name} draws random numbers to classify an image, and ONNX would draw others",
            "--to safetensors holds it; ram draws none if it is trained with model.options.eval_locations=mean",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as temporary:
            logits = _EXPORTERS[format_](trained, temporary, images)
            difference = float((logits.detach() - expected).abs().max())
            if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
                raise RunFailedError(
                    f"{trained.name} as {format_} gives other logits than the run: they differ by {difference:.3g}",
                    "no file was written",
                )
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "--out FILE names a file that can be written") from error
    except (UserError, RunFailedError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunFailedError(
            f"{trained.name} cannot be exported to {format_}: {reason}", "--to safetensors holds any network"
        ) from error
    return {
        "format": format_,
        "file": str(path),
        "bytes": path.stat().st_size,
        "input": ["N", *trained.input_shape],
        "classes": len(trained.classes),
        "largest_difference": difference,
    }


def _draw_images(trained: TrainedNetwork) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(0, "export"))
    return torch.rand((CHECKED_IMAGES, *trained.input_shape), generator=generator)


def _compute_logits(network: Callable[[Tensor], Any], images: Tensor, seed: int = 0) -> Tensor:
    """Return the logits of the images; a network that draws random numbers draws the same ones for the same seed."""
    with torch.no_grad(), seeded_generators(derive_seed(seed, "export")):
        logits: Tensor = network(images)
    return logits


def _export_safetensors(trained: TrainedNetwork, path: Path, images: Tensor) -> Tensor:
    """Write the weights with their metadata; return the logits of the network that is built from the file alone."""
    metadata = {
        "format": "pt",
        "attncli.recipe": json.dumps(trained.recipe.model_dump(mode="json")),
        "attncli.digest": trained.recipe.compute_digest(),
        "attncli.own_code": json.dumps(name_own_code(trained.recipe)),
        "classes": json.dumps(list(trained.classes)),
        "size": json.dumps(list(trained.size)),
        "frames": json.dumps(trained.frames),
        "mean": json.dumps(list(trained.mean)),
        "std": json.dumps(list(trained.std)),
        "grey_range": json.dumps(trained.grey_range),
    }
    save_file({name: t.contiguous().clone() for name, t in trained.net.state_dict().items()}, path, metadata)
    return _compute_logits(ImageClassifier(load_exported(path)).eval(), images)


def load_exported(path: Path) -> TrainedNetwork:
    """Return the network of a file that `export_network` wrote as safetensors.

    Raises UserError for another file, or if a user's mechanism or network has changed since it was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or ("no such file" if not path.exists() else str(error))
        raise UserError(
            f"{path}: cannot be read: {reason}", "`attncli export RUN --to safetensors` writes one"
        ) from error
    try:
        values = {name: json.loads(metadata[name]) for name in ("classes", "size", "frames", "mean", "std")}
        grey_range = json.loads(metadata.get("grey_range", "null"))  # which earlier versions did not write
        recipe = Recipe.model_validate(json.loads(metadata["attncli.recipe"]))
        own_code: dict[str, str] = json.loads(metadata.get("attncli.own_code", "{}"))  # nor this
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: not written by attncli export", "`attncli export RUN --to safetensors` writes one"
        ) from error
    if own_code and (changed := list_changed_code(recipe, own_code.values())):
        raise UserError(
            f"{path}: {' or '.join(changed)} has changed since the network was exported",
            "put the earlier file back, or export the run again",
        )
    size = (values["size"][0], values["size"][1])
    net = build_without_pretrained(recipe, InputSpec(len(values["classes"]), size, values["frames"]))
    net.load_state_dict(load_file(path))
    return TrainedNetwork(
        path.parent, recipe, None, net.eval(), tuple(values["classes"]), size, values["frames"],
        tuple(values["mean"]), tuple(values["std"]), tuple(grey_range) if grey_range else None,
    )  # fmt: skip


def _export_program(trained: TrainedNetwork, path: Path, images: Tensor) -> Tensor:
    program = _trace_program(ImageClassifier(trained).eval(), images)
    with path.open("wb") as file:  # torch warns about a path without .pt2
        torch.export.save(program, file)
    with path.open("rb") as file:
        return _compute_logits(torch.export.load(file).module(), images)


def _trace_program(classifier: nn.Module, images: Tensor) -> Any:
    """Return torch's exported program for any number of images; for this number if the network fixes it."""
    batch = torch.export.Dim("batch", min=1, max=65536)
    try:
        return torch.export.export(classifier, (images,), dynamic_shapes=({0: batch},))
    except Exception:  # a mechanism whose code depends on the number of images
        return torch.export.export(classifier, (images,))


def _export_onnx(trained: TrainedNetwork, path: Path, images: Tensor) -> Tensor:
    """Write an ONNX file; return its logits by onnxruntime, or by ONNX's own evaluator."""
    classifier = ImageClassifier(trained).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            classifier, (images,), str(path), dynamo=True, input_names=["images"], output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},), external_data=False, verbose=False,
        )  # fmt: skip
    if importlib.util.find_spec("onnxruntime"):
        runtime: Any = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    reference: Any = importlib.import_module("onnx.reference")
    return torch.from_numpy(reference.ReferenceEvaluator(str(path)).run(None, {"images": images.numpy()})[0])


_EXPORTERS: dict[str, Callable[[TrainedNetwork, Path, Tensor], Tensor]] = {
    "safetensors": _export_safetensors,
    "onnx": _export_onnx,
    "torch-export": _export_program,
}
