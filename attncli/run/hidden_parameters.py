"""Parameters that a network holds where torch does not find them, as in a plain list: they are never trained."""

from collections.abc import Iterator, Mapping

from torch import nn


def list_hidden_parameter_warnings(net: nn.Module) -> list[str]:
    """Return a warning for each class whose modules hold parameters in lists, tuples or dicts, which torch ignores.

    Torch finds what is in `nn.ModuleList`, `nn.ModuleDict` or `nn.ParameterList`. The rest is neither trained nor
    saved, does not count, and does not move to a GPU.
    """
    known = {id(parameter) for parameter in net.parameters()}
    places: dict[str, None] = {}
    for module in net.modules():
        for name, value in vars(module).items():
            is_container = isinstance(value, list | tuple | Mapping) and not name.startswith("_")
            if is_container and any(id(parameter) not in known for parameter in _list_parameters(value)):
                places[f"{type(module).__name__}.{name}"] = None
    return [
        f"{place} holds parameters that are neither trained nor saved, as torch does not look into lists and dicts:"
        " use nn.ModuleList, nn.ModuleDict or nn.ParameterList"
        for place in places
    ]


def _list_parameters(value: object) -> Iterator[nn.Parameter]:
    """Yield the parameters in a value: in lists, tuples and dicts, also nested ones, and in the modules they hold."""
    if isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _list_parameters(item)
