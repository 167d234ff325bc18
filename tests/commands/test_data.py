"""`attncli data`: listed without torch, prepared, verified and shown."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from attncli import data, validation
from attncli.data.loader import BatchLayout, iterate_train_batches
from attncli.data.preview import draw_preview
from tests.commands.line import line, refused
from tests.data.image_fixtures import folder, picture


def test_ls(tmp_path: Path) -> None:
    """Every dataset with what it is and whether its files are there."""
    rows = {row["name"]: row for row in line("data", "ls", "--data-root", str(tmp_path), "--json").json()}
    assert rows.keys() == data.DATASETS.keys()
    assert rows["digits"]["files"] == "there"
    assert rows["cifar10"]["files"] == rows["imagenette"]["files"] == "to be fetched"
    assert rows["imagenet"]["files"] == rows["parquet"]["files"] == "needs --data-root"
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "imagenette2-160").mkdir()
    rows = {row["name"]: row for row in line("data", "ls", "--data-root", str(tmp_path), "--json").json()}
    assert rows["cifar10"]["files"] == rows["imagenette"]["files"] == "there"


def test_ls_of_one() -> None:
    """All that its file says: the layout that it wants."""
    done = line("data", "ls", "imagenet")
    assert done.code == 0
    assert "LOC_val_solution.csv" in done.out
    refused(line("data", "ls", "imagenett"), "did you mean 'imagenet")


def test_ls_loads_no_torch() -> None:
    """Listing is as quick as other listings."""
    import subprocess
    import sys

    code = (
        "import sys; sys.argv[1:] = ['data', 'ls']\nfrom attncli.__main__ import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_prepare_then_nothing_is_left_to_do(tmp_path: Path) -> None:
    """Images, classes, size and digest; the second time the same."""
    root = folder(tmp_path / "x", size=(12, 10))
    words = ("data", "prepare", "folder", "--data-root", str(root), "--image-size", "8")
    told = line(*words, "--json").json()
    assert told["images"] == {"train": 11, "val": 1, "test": 12}
    assert told["size"] == [8, 8]
    assert line(*words, "--json").json() == told
    text = line(*words).out
    assert "11 train, 1 val, 12 test images of 8 x 8 px in 3 classes" in text
    assert told["digest"] in text
    assert list(Path("runs/cache").glob("*.bin"))


def test_verify_and_its_exit_code(tmp_path: Path) -> None:
    """0 and the counts for what is whole, 1 and each bad file for what is not."""
    root = folder(tmp_path / "x")
    words = ("data", "verify", "folder", "--data-root", str(root))
    done = line(*words)
    assert done.code == 0
    assert "good (24 image files decoded" in done.out
    (root / "test/owl/1.png").write_text("no")
    done = line(*words)
    assert done.code == 1
    assert "test/owl/1.png: not an image" in done.out
    assert done.err.startswith("Error: folder: not whole, see above")
    assert "--set data.bad=skip" in done.err
    found = line(*words, "--json")
    assert found.code == 1
    assert '"test/owl/1.png: not an image"' in found.out


@pytest.mark.parametrize("varied", [(), ("--set", "data.crop=resized", "--set", "data.mixup=0.5")])
def test_show_draws_a_sheet(tmp_path: Path, varied: tuple[str, ...]) -> None:
    """A PNG with the images asked for, under their labels."""
    root = folder(tmp_path / "x", size=(12, 10))
    told = line(
        "data", "show", "folder", "--data-root", str(root), "--image-size", "8", "--images", "6", *varied, "--json"
    ).json()
    assert told["file"] == "folder.png"
    assert len(told["labels"]) == 6
    assert all(any(name in label for name in ("cat", "dog", "owl")) for label in told["labels"])
    with Image.open("folder.png") as drawn:
        assert drawn.format == "PNG"
        assert len(drawn.convert("RGB").getcolors(1 << 24) or []) > 500  # noise, and not an empty sheet


def test_a_sheet_shows_what_the_training_sees(tmp_path: Path) -> None:
    """However many images it has: crops, flips and mixtures are drawn for a batch of the training as a whole."""
    recipe = validation.read(
        values={"seed": 3, "train.batch_size": 16, "data.mixup": 0.5, "data.flip": True, "train.sampling": "balanced"}
    )
    dataset = data.load(recipe.resolve_data(), cache=tmp_path)
    layout = BatchLayout(batch_size=16, device=torch.device("cpu"), channels_last=False)
    batches = iterate_train_batches(dataset.train, dataset, layout, seed=3, epoch=1, balanced=True)
    trained = torch.cat([next(batches)[0] for _ in range(2)])
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    for count in (5, 20):
        shown = draw_preview(dataset, count, recipe, epoch=1)
        seen = torch.stack([torch.from_numpy(sample.image).permute(2, 0, 1) for sample in shown]) / 255
        torch.testing.assert_close(seen, trained[:count] * std + mean, atol=0.6 / 255, rtol=0)
        assert len(shown) == count


def test_a_sheet_has_one_seed() -> None:
    """That of the recipe, unless `--seed` says another; two are refused."""
    refused(line("data", "show", "digits", "--seed", "1", "--set", "seed=2"), "seed is 1 already")
    sheets = []
    for number, words in enumerate((("--seed", "2"), ("--set", "seed=2"), ())):
        assert line("data", "show", "digits", "--images", "2", "--out", f"{number}.png", *words).code == 0
        sheets.append(Path(f"{number}.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_show_of_a_recipe_and_of_clips(tmp_path: Path) -> None:
    """The data section of a recipe file; of clips a frame."""
    Path("mine.yaml").write_text("data:\n  name: clips\n")
    assert line("data", "show", "--recipe", "mine.yaml", "--images", "3", "--out", "a/b.png").code == 0
    assert Path("a/b.png").is_file()


def test_bad_input(tmp_path: Path) -> None:
    """No name, an unknown one, an unreadable place: a line and a hint each."""
    refused(line("data", "prepare"), "no dataset named", "data ls")
    refused(line("data", "show", "digit"), "did you mean 'digits'")
    refused(line("data", "prepare", "folder"), "data.root")
    refused(line("data", "verify", "digits", "--set", "data.crop=round"), "data.crop")
    picture(tmp_path / "file.png", 0)
    refused(line("data", "show", "digits", "--out", str(tmp_path / "file.png/x.png")), "file.png", "--out")
    refused(line("data", "show", "digits", "--out", "x.jpg"), "x.jpg", ".png, .pdf, .svg")


def test_check_refuses_the_folder_that_a_run_refuses(tmp_path: Path) -> None:
    """The same line and hint, nothing on stdout, no run begun; a plan of a sweep too. A good folder is counted."""
    root = folder(tmp_path / "x", each=10)
    words = ("--dataset", "folder", "--data-root", str(root), "--image-size", "8")
    told = line("check", *words)
    assert told.code == 0
    assert "images of x: there (27 train, 3 val, 30 test images in 3 classes;" in told.err
    assert line("data", "ls", "folder", "--data-root", str(root)).out.startswith("folder: there (27 train")
    (root / "test/owl").rename(root / "test/bat")
    checked = line("check", *words)
    refused(checked, "'owl' in train/ but not in test/", "same classes")
    for dry_run in ((), ("--dry-run",)):  # a sweep says it once, before its first run, and not run by run
        assert checked == line("sweep", "--attn", "se", *words, *dry_run)
        claim = ("claims", "run", "eca-acc-r50", "--backbone", "resnet20", "--seeds", "2")
        refused_claim = line(*claim, *words, *dry_run)
        assert refused_claim.code == 2
        assert checked.err in refused_claim.err
    assert not Path("runs").exists()
    assert checked == line("run", *words)
    assert "'owl' in train/" in line("data", "ls", "folder", "--data-root", str(root)).out


def test_a_sweep_without_its_images_begins_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dataset that has to be asked for and is nowhere is refused once, as `run` refuses it; a plan only says so."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path / "none"))
    words = ("--dataset", "imagenet", "--image-size", "32", "--set", "data.crop=resized", "--backbone", "resnet20")
    done = line("sweep", "--attn", "se", "--seeds", "2", *words)
    refused(done, "imagenet: no folder train/", "--data-root DIR")
    assert not Path("runs").exists()
    assert "images of imagenet: needs --data-root" in line("sweep", "--attn", "se", *words, "--dry-run").err
