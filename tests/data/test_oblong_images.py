"""Images of which height and width differ, and are chosen: data.image_size=[16, 32]."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attncli import data, model, recipe
from attncli.attention import describe_mechanism, mechanism_names
from attncli.data.augmentation.random_resized_crop import draw_resized_crops
from attncli.data.images.decode import Target, decode_image, shrink_size
from attncli.data.readers.in_memory import resize_images
from attncli.errors import UserError
from attncli.recipe import Data
from attncli.recipe.image_size import format_image_size, parse_image_size
from tests.data import image_fixtures


def test_a_square_is_one_number() -> None:
    """Equal sides are the recipe of one number, and its digest is that of earlier versions."""
    digests = {
        recipe.read(None, [f"data.image_size={text}"]).compute_digest() for text in ("224", "[224,224]", "224x224")
    }
    assert digests == {recipe.read(values={"data.image_size": 224}).compute_digest()}
    oblong = {recipe.read(None, [f"data.image_size={text}"]).compute_digest() for text in ("[16,32]", "16x32")}
    assert len(oblong) == 1
    assert oblong != {recipe.read(None, ["data.image_size=[32,16]"]).compute_digest()}
    assert Data(image_size=[16, 32]).size == (16, 32)


@pytest.mark.parametrize("text", ["", "x", "0", "12x", "12x0", "1x2x3", "-3", "1e3", "12 px"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """On the command line and in a recipe alike."""
    with pytest.raises(UserError):
        parse_image_size(text)
    with pytest.raises(UserError):
        recipe.read(values={"data.image_size": text})
    assert [format_image_size(size) for size in ((8, 8), (8, 16))] == ["8", "8x16"]


def test_the_largest_centre_box_of_the_aspect_ratio_is_resized(tmp_path: Path) -> None:
    """Files and images in memory are cropped to height : width = 1 : 2 and never distorted."""
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[13:27] = 200  # the centre, 10 of 40 rows and the whole width, and what the filter reaches
    Image.fromarray(pixels).save(tmp_path / "0.png")
    assert (decode_image(tmp_path / "0.png", Target(5, 10)).pixels == 200).all()
    assert (resize_images(torch.from_numpy(pixels)[None], (5, 10)) == 200).all()
    assert decode_image(tmp_path / "0.png", Target(10, 10)).pixels.min() == 0
    assert shrink_size(40, 20, (5, 10)) == (20, 10)  # covers 5 x 10
    assert shrink_size(40, 20, (40, 80)) == (40, 20)  # is never enlarged


def test_random_crops_have_the_aspect_ratio_of_the_size() -> None:
    """Boxes of width / height between 3/4 and 4/3 of the training size's, but for rounding."""
    sides = torch.full((200,), 400)
    boxes = draw_resized_crops(sides, sides, 0.08, False, 0, (16, 32)).boxes
    ratios = boxes.width / boxes.height
    assert 1.48 < ratios.min() < 1.6
    assert 2.5 < ratios.max() < 2.7


@pytest.mark.parametrize("keys", [{}, {"crop": "resized"}, {"crop": "resized", "decoded": False}])
def test_a_folder_is_read_at_that_size(tmp_path: Path, keys: dict[str, object]) -> None:
    """Height first, in every split and way of reading."""
    root = image_fixtures.folder(tmp_path / "x", size=(24, 20))
    recipe_data = image_fixtures.of_folder(root, image_size=[8, 16], **keys)
    dataset = data.load(recipe_data, cache=tmp_path / "cache")
    assert (dataset.size, dataset.test.images.shape[2:], dataset.pad) == ((8, 16), (8, 16), 1)


def test_mechanisms_fit_oblong_images() -> None:
    """Mechanisms with parameters for positions, and whole networks, fit 32 x 64 px if they fit 32 px."""
    for name in mechanism_names():
        if "size" not in describe_mechanism(name).site_arguments:
            continue
        needs_clips = describe_mechanism(name).needs_clips
        frames = 2 if needs_clips else None
        values = {"model.backbone": "resnet20", "model.attn": name, "data.name": "clips" if needs_clips else "digits"}
        built = recipe.read(values=values)
        fits = []
        for size in ((32, 32), (32, 64)):
            try:
                with torch.device("meta"):
                    fits.append(model.build(built, model.InputSpec(10, size, frames)) is not None)
            except UserError:
                fits.append(False)
        assert fits[0] == fits[1], name
