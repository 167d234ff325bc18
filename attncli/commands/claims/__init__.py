"""`attncli claims`: what the literature claims, and whether it holds here."""

from attncli.commands._group import DefaultCommandFolder

command = DefaultCommandFolder("claims", package=__name__, default="table")
