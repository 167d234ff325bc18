"""What a network costs beside its baseline, counted exactly, without timing anything."""

from torch import nn

from attncli.measure.activations import activation_bytes
from attncli.measure.counts import parameters, work
from attncli.records import Cost


def cost(model: nn.Module, baseline: nn.Module, size: tuple[int, int], frames: int | None = None) -> Cost:
    """Parameters, MACs, element-wise work and activation memory of both networks for one image (H, W).

    For clips, `frames` is T and every figure is that of one clip. Neither network is changed, moved or run.
    """
    macs, elementwise = work(model, size, frames)
    baseline_macs, baseline_elementwise = work(baseline, size, frames)
    return Cost(
        params=parameters(model),
        baseline_params=parameters(baseline),
        macs=macs,
        baseline_macs=baseline_macs,
        elementwise=elementwise,
        baseline_elementwise=baseline_elementwise,
        activation_bytes=activation_bytes(model, size, frames),
        baseline_activation_bytes=activation_bytes(baseline, size, frames),
        image_size=max(size),
    )
