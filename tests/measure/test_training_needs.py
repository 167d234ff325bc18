"""Facts of the estimate of memory and time: it is the count of one image times the batch, and it warns and refuses."""

import pytest
import torch

from attncli import model
from attncli.errors import UserError
from attncli.measure import training_needs
from attncli.measure.cost import NetworkCounts
from attncli.measure.training_needs import MemoryNeeds, check_duration, check_memory, estimate_memory
from attncli.recipe import read

COUNTS = NetworkCounts(params=1_000_000, macs=2_000_000_000, elementwise=0, activation_bytes=80_000_000)
GB, IMAGES = 10**9, 1000


def recipe(**values):
    """A recipe of resnet20; dots are written as two underscores."""
    flat = {"model.backbone": "resnet20", "train.precision": "fp32"}
    return read(None, (), flat | {key.replace("__", "."): value for key, value in values.items()})


@pytest.mark.parametrize(
    ("values", "precision", "processes", "shared", "needs"),
    [
        ({}, "fp32", 1, 1, MemoryNeeds(per_image=80_000_000, fixed=8_000_000, images=128)),
        ({}, "bf16", 1, 1, MemoryNeeds(per_image=40_000_000, fixed=8_000_000, images=128)),
        ({"train__optimizer": "adamw"}, "fp32", 1, 1, MemoryNeeds(per_image=80_000_000, fixed=12_000_000, images=128)),
        ({"train__ema": 0.9}, "fp32", 1, 1, MemoryNeeds(per_image=80_000_000, fixed=12_000_000, images=128)),
        ({}, "fp32", 4, 4, MemoryNeeds(per_image=80_000_000, fixed=32_000_000, images=128)),
        ({}, "fp16", 4, 1, MemoryNeeds(per_image=40_000_000, fixed=8_000_000, images=32, devices=4)),
    ],
)
def test_what_is_counted(values, precision, processes, shared, needs):
    """A batch of activations, and per parameter its gradient, the optimizer's state and the average."""
    assert estimate_memory(recipe(**values), COUNTS, IMAGES, precision, processes, shared) == needs


def test_a_batch_has_no_more_images_than_there_are():
    """A batch of 512 of 72 images is one of 72."""
    assert estimate_memory(recipe(train__batch_size=512), COUNTS, 72, "fp32", 1, 1).images == 72


def test_a_roomy_machine_gets_no_word():
    """Nothing is said if less than half of the free memory is needed."""
    needs = estimate_memory(recipe(), COUNTS, IMAGES, "fp32", 1, 1)
    assert check_memory(recipe(), needs, 40 * GB, (224, 224), has_bf16=False) is None


def test_a_tight_machine_gets_a_warning_with_settings_that_fit():
    """The warning names memory and settings; with each of them the training needs at most half of what is free."""
    needs = estimate_memory(recipe(), COUNTS, IMAGES, "fp32", 1, 1)
    warning = check_memory(recipe(), needs, 20 * GB, (224, 224), has_bf16=True)
    assert "10.2 GB to 16.4 GB" in warning
    assert "--set train.batch_size=64" in warning
    assert "--image-size 160" in warning
    assert "train.precision=bf16" in warning
    smaller = estimate_memory(recipe(train__batch_size=64), COUNTS, IMAGES, "fp32", 1, 1)
    assert smaller.likely <= 10 * GB


def test_what_cannot_fit_is_refused_unless_the_recipe_says_so():
    """Less memory is free than the least: an error with the settings that help, or a warning if the check is off."""
    needs = estimate_memory(recipe(), COUNTS, IMAGES, "fp32", 1, 1)
    with pytest.raises(UserError, match=r"at least 10\.2 GB of memory, and 6\.0 GB are free") as caught:
        check_memory(recipe(), needs, 6 * GB, (224, 224), has_bf16=False)
    assert "train.batch_size=16" in caught.value.hint
    assert "measure.check_memory=false" in caught.value.hint
    assert "10.2 GB" in check_memory(recipe(measure__check_memory=False), needs, 6 * GB, (224, 224), has_bf16=False)


def test_parts_of_a_batch_need_less():
    """Four parts keep a quarter of the activations; the hint offers parts as well as a smaller batch."""
    whole, parts = (estimate_memory(recipe(train__accumulate=n), COUNTS, IMAGES, "fp32", 2, 1) for n in (1, 4))
    assert (parts.images, parts.devices) == (whole.images // 4, 4 * whole.devices)
    whole_batch = estimate_memory(recipe(), COUNTS, IMAGES, "fp32", 1, 1)
    with pytest.raises(UserError) as caught:
        check_memory(recipe(), whole_batch, 6 * GB, (224, 224), has_bf16=False)
    batch = recipe().train.batch_size
    assert f"train.batch_size=16 or --set train.accumulate={batch // 16}" in caught.value.hint


def test_the_check_is_no_part_of_a_runs_identity():
    """The same run, with and without the check."""
    assert recipe(measure__check_memory=False).compute_digest() == recipe().compute_digest()


def test_a_short_training_is_not_timed(monkeypatch):
    """The digits take seconds: nothing is run for the estimate."""
    monkeypatch.setattr(training_needs, "time_images_per_s", lambda *_: pytest.fail("timed"))
    counts = NetworkCounts(params=1, macs=2_000_000, elementwise=0, activation_bytes=1)
    assert check_duration(recipe(), torch.nn.Identity(), counts, model.InputSpec(10, (8, 8)), 1400) is None


def test_a_long_training_gets_a_warning(monkeypatch):
    """Hours are said with the rate, the work per image and what a smaller image saves."""
    monkeypatch.setattr(training_needs, "time_images_per_s", lambda *_: 2.0)
    warning = check_duration(recipe(), torch.nn.Identity(), COUNTS, model.InputSpec(10, (224, 224)), 9_000)
    assert "time of 12 epochs: about 15.0 hours (2 images/s, 2.00 GMACs per image of 224 px)" in warning
    assert "--image-size 112" in warning
    monkeypatch.setattr(training_needs, "time_images_per_s", lambda *_: 250.4)
    fast = check_duration(recipe(), torch.nn.Identity(), COUNTS, model.InputSpec(10, (224, 224)), 9_000_000)
    assert "(250 images/s, " in fast


def test_timing_changes_neither_the_network_nor_the_random_numbers():
    """A training gives the same bits whether its time was estimated or not."""
    spec = model.InputSpec(10, (16, 16))
    net = model.build(recipe(), spec)
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    assert training_needs.time_images_per_s(net, spec) > 0
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_free_memory_is_a_number_of_this_machine():
    """At least a megabyte is free, and less than there is."""
    import psutil

    assert 1e6 < training_needs.read_free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total
