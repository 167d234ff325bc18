"""A network and its loss as one module, so that DDP, autocast and torch.compile see a single forward pass."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.attention import is_whole_network
from attncli.train.precision import autocast_context

OwnLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # images and labels to loss and logits


def find_own_loss(model: nn.Module, attn: str) -> OwnLoss | None:
    """Return the method `loss(images, labels) -> (loss, logits)` of a mechanism that is the whole network, or None.

    Other networks are trained on the cross-entropy, whatever they have that is called `loss`.
    """
    own_loss = getattr(model, "loss", None) if is_whole_network(attn) else None
    return own_loss if callable(own_loss) else None


class TrainingObjective(nn.Module):
    """Map images (b, ...) and labels (b,), or class shares (b, classes), to the mean loss, a float32 scalar.

    It is `own_loss` if that is given, else the cross-entropy with label smoothing (Szegedy et al. 2016, section 7),
    computed in float32. With `class_weights` (classes,), the loss of each image is multiplied by the weight of its
    class (of its class shares) before the mean.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        smoothing: float,
        precision: str,
        device: torch.device,
        class_weights: Tensor | None = None,
        own_loss: OwnLoss | None = None,
    ) -> None:
        super().__init__()
        self.class_weights = class_weights if class_weights is None else class_weights.to(device)
        self.model = model
        self.smoothing = smoothing
        self.precision = precision
        self.device = device
        self.own_loss = own_loss

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        with autocast_context(self.precision, self.device):
            result = self.own_loss(images, labels)[0] if self.own_loss else self.model(images)
        if self.own_loss:
            return result.float()
        if self.class_weights is None:
            return F.cross_entropy(result.float(), labels, label_smoothing=self.smoothing)
        losses = F.cross_entropy(result.float(), labels, label_smoothing=self.smoothing, reduction="none")
        weights = self.class_weights[labels] if labels.ndim == 1 else labels @ self.class_weights
        return (losses * weights).mean()


def balance_classes(labels: Tensor, classes: int) -> Tensor:
    """Return weights (classes,) that give every class the same share of the loss: n / (classes n_c), float32.

    Their mean over the n training images is 1, so the learning rate keeps its meaning.
    """
    counts = labels.bincount(minlength=classes).clamp_min(1)
    return (len(labels) / (classes * counts)).float()
