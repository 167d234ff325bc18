"""A network and its loss as one module, so that DDP, autocast and torch.compile see a single forward pass."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.train.precision import autocast_context


class TrainingObjective(nn.Module):
    """Map images (b, ...) and labels (b,), or class shares (b, classes), to the mean loss, a float32 scalar.

    The network's own loss is used if its class has `loss(images, labels) -> (loss, logits)`, else the
    cross-entropy with label smoothing (Szegedy et al. 2016, section 7), computed in float32.
    """

    def __init__(self, model: nn.Module, *, smoothing: float, precision: str, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.smoothing = smoothing
        self.precision = precision
        self.device = device
        model_loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = getattr(model, "loss", None)
        self.model_loss = model_loss if callable(model_loss) else None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        with autocast_context(self.precision, self.device):
            result = self.model_loss(images, labels)[0] if self.model_loss else self.model(images)
        if self.model_loss:
            return result.float()
        return F.cross_entropy(result.float(), labels, label_smoothing=self.smoothing)
