"""The two loops of the evaluation bench: attncli's evaluation of a split, and inference alone."""

import torch

from attncli import train
from attncli.benchmark.training_loops import BenchSetting, EpochRunner
from attncli.measure.timed_network import prepare_timed_network
from attncli.train.distributed import choose_kernels


def build_evaluation_loop(setting: BenchSetting) -> EpochRunner:
    """Return a function that evaluates the setting's images and returns the loss."""
    net, dataset, recipe = setting.build_network(), setting.make_dataset(), setting.build_recipe()
    accelerator = train.init_accelerator()
    device = train.resolve_device(accelerator)
    choose_kernels(device, train.resolve_precision(recipe.train.precision, device))
    return lambda: train.evaluate_split(net, dataset.test, dataset, recipe, name="test", accelerator=accelerator).loss


def build_inference_loop(setting: BenchSetting) -> EpochRunner:
    """Return a function that runs one batch of noise `setting.steps` times and returns 0, as it has no loss."""
    device = train.choose_device()
    train.tune_malloc()
    precision = train.resolve_precision("auto", device)
    choose_kernels(device, precision)
    shape = (setting.batch_size, 3, setting.size, setting.size)
    recipe = setting.build_recipe()
    timed_network = prepare_timed_network(setting.build_network(), recipe, setting.classes, shape, precision, device)
    timed_network.net.eval()

    def run_turn() -> float:
        for _ in range(setting.steps):
            timed_network.infer()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return 0.0

    return run_turn
