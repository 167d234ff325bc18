"""What the names in the section `model` of a recipe stand for, and which of its settings contradict each other."""

from dataclasses import dataclass

from attncli import attention, backbones
from attncli.attention import Mechanism
from attncli.backbones.structure import BackboneFamily
from attncli.errors import UserError
from attncli.recipe import Model, Recipe


@dataclass(frozen=True)
class InputSpec:
    """What a network must know about its dataset: classes, (H, W) of an image, T of a clip (None for still images)."""

    classes: int
    size: tuple[int, int]
    frames: int | None = None


@dataclass(frozen=True)
class ResolvedModel:
    """The model of a recipe, with what its names stand for."""

    model: Model
    seed: int
    mechanism: Mechanism | None  # None for the plain backbone
    family: BackboneFamily | None  # None if the mechanism is the whole network
    paper_site: str | None  # where the mechanism's paper puts it in this backbone; None without mechanism

    @property
    def is_whole_network(self) -> bool:
        """Whether the mechanism is the whole network."""
        return self.family is None

    @property
    def site(self) -> str | None:
        """Where the mechanism goes: the site of the recipe, else that of the paper; None without mechanism.

        A combination has the sites of its parts, joined by `+`.
        """
        return self.model.site or self.paper_site if self.mechanism else None


def resolve_model(recipe: Recipe) -> ResolvedModel:
    """Look up the mechanism and the backbone of a recipe. Raises UserError for an unknown name."""
    model = recipe.model
    mechanism = attention.resolve_mechanism(model.attn)
    if mechanism and mechanism.is_whole_network:
        return ResolvedModel(model, recipe.seed, mechanism, None, mechanism.card.site)
    paper_sites = [backbones.get_paper_site(model.backbone, m.card) for m in mechanism.members] if mechanism else []
    paper_site = "+".join(dict.fromkeys(paper_sites)) or None
    return ResolvedModel(model, recipe.seed, mechanism, backbones.load(model.backbone), paper_site)


def check_model_settings(resolved: ResolvedModel, spec: InputSpec) -> None:
    """Raise UserError, before anything is built, for settings that contradict each other."""
    model, mechanism = resolved.model, resolved.mechanism
    if model.zero_init_residual and (model.pretrained or resolved.is_whole_network):
        reason = "a whole network has no blocks" if resolved.is_whole_network else "it would undo pretrained weights"
        raise UserError(f"model.zero_init_residual: {reason}", "leave it out")
    if mechanism is None:
        return
    if mechanism.needs_clips and spec.frames is None:
        raise UserError(
            f"model.attn: '{model.attn}' works on the frames of clips, and the data are still images",
            "choose data.name=clips, which makes clips of any still-image dataset (data.of)",
        )
    if resolved.is_whole_network and spec.frames is not None:
        raise UserError(f"model.attn: '{model.attn}' is a whole network for still images", "choose still images")
    if model.replace and mechanism.parts:
        raise UserError(f"model.replace: one mechanism takes that place, not '{model.attn}'", "leave out model.replace")
    if model.replace and model.site:
        raise UserError(
            "model.site: with model.replace a mechanism goes where the built-in attention was", "leave out one of them"
        )
    if resolved.is_whole_network:
        _refuse_backbone_keys(model)


def _refuse_backbone_keys(model: Model) -> None:
    """Raise UserError for a key of the section that a mechanism which is the whole network has no use for."""
    if model.replace or model.pretrained:
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no backbone to replace or load anything in",
            "leave out model.replace and model.pretrained",
        )
    if model.channels != 3:
        raise UserError(
            f"model.channels: '{model.attn}' is a whole network: it has no stem of a backbone to change",
            "leave out model.channels",
        )
    if model.last_stride:
        raise UserError(
            f"model.last_stride: '{model.attn}' is a whole network: it has no last stage of a backbone",
            "leave out model.last_stride",
        )
    if model.site or model.stages or model.blocks:
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no place to choose",
            "leave out model.site, model.stages and model.blocks",
        )
