"""Which parameters get weight decay, and which learning rate."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from attncli import attention
from attncli.backbones import surgery
from attncli.recipe import Train


def group_parameters(
    model: nn.Module, train: Train, attn: str, parts: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the parameters in groups for an optimiser, each with its `weight_decay` and `lr_scale`.

    Norms, biases and gates (every vector or scalar, also one shaped (C, 1, 1) or (1, C, 1, 1) to be multiplied with a
    map) get no weight decay unless `train.decay_norm_bias` is set. Parameters in `no_weight_decay` of the network, of
    the card, or of the module if its options change them, never get any. `lr_scale` multiplies the scheduled learning
    rate. Frozen parameters (those that need no gradient) are left out.

    Args:
        model: The network.
        train: The recipe's training settings.
        attn: The mechanism's name.
        parts: The part of the network that each parameter belongs to, for `train.lr_factors`.
    """
    undecayed, lr_factors = _read_card_rules(model, attn)
    network_rules = _read_undecayed_rules(model, ())  # timm's transformers exempt their tables of positions
    kernels = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_gate = id(parameter) not in kernels and _is_gate(parameter)
        is_exempt = name in undecayed or _is_named_by(name.replace(".host.", "."), network_rules)
        decayed = (not is_gate or train.decay_norm_bias) and not is_exempt
        part_factor = train.lr_factors.get(parts[name], 1.0) if parts else 1.0
        key = (train.weight_decay if decayed else 0.0, lr_factors.get(name, 1.0) * part_factor)
        groups.setdefault(key, []).append(parameter)
    return [{"params": params, "weight_decay": decay, "lr_scale": factor} for (decay, factor), params in groups.items()]


def _is_gate(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a scalar, a vector, or one value per channel: (C, 1, 1) or (1, C, 1, 1).

    The kernel of a convolution from C channels to one has the last shape too; the caller leaves kernels out.
    """
    is_per_channel = parameter.ndim == 3 or (parameter.ndim == 4 and len(parameter) == 1)
    return parameter.ndim <= 1 or (is_per_channel and parameter.shape[-2:] == (1, 1))


def _read_card_rules(model: nn.Module, attn: str) -> tuple[set[str], dict[str, float]]:
    """Return (parameters without weight decay, learning-rate factors by parameter) by the card of the mechanism."""
    undecayed: set[str] = set()
    lr_factors: dict[str, float] = {}
    mechanism = attention.resolve_mechanism(attn)
    if mechanism is None:
        return undecayed, lr_factors
    cards = {member.reference: member.card for member in mechanism.members}
    for path, module in surgery.find_mechanisms(model).items():
        card = cards[surgery.read_reference(module)]
        undecayed_rules = _read_undecayed_rules(module, card.no_weight_decay)
        for name, _ in module.named_parameters():
            full_name = f"{path}.{name}" if path else name
            if _is_named_by(name, undecayed_rules):
                undecayed.add(full_name)
            for rule, factor in card.lr_scale:
                if _is_named_by(name, (rule,)):
                    lr_factors[full_name] = factor
    return undecayed, lr_factors


def _is_named_by(name: str, rules: Collection[str]) -> bool:
    """Return whether a rule is the name of a parameter, or of a module that it is in."""
    return any(name == rule or name.startswith(rule + ".") for rule in rules)


def _read_undecayed_rules(module: nn.Module, card_rules: Collection[str]) -> Collection[str]:
    """Return the names without weight decay that a mechanism or a network has itself, else those given.

    Ours have an attribute `no_weight_decay`; published classes have a method of this name, as timm calls it.
    """
    own_rules = getattr(module, "no_weight_decay", card_rules)
    if callable(own_rules):
        own_rules = own_rules()
    return own_rules if isinstance(own_rules, list | tuple | set | frozenset) else card_rules
