"""The option `--device`."""

import os
from collections.abc import Callable

import click

from attncli.commands._option_groups import F
from attncli.system.gpu_support import DEVICE_VARIABLE, check_device_name


def make_device_option(default: str) -> Callable[[F], F]:
    """Return the option `--device`; what it asks for holds for the command and the processes that it starts.

    `default` says in the help what the command does without it.
    """

    def remember(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        if name is None:
            return
        before = os.environ.get(DEVICE_VARIABLE)
        os.environ[DEVICE_VARIABLE] = check_device_name(name)
        ctx.call_on_close(lambda: _restore_variable(DEVICE_VARIABLE, before))

    return click.option(
        "--device",
        metavar="NAME",
        expose_value=False,
        callback=remember,
        help=f"cpu, cuda, cuda:1 or mps  [default: {default}]",
    )


device_option = make_device_option("the GPU that torch finds, else cpu")


def _restore_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
