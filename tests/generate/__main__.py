"""Write every generated file again: `python -m tests.generate [--all] [NAME ...]`.

Pairs of mechanism and backbone that `compatibility.yaml` lacks are built; NAME is a mechanism or backbone whose pairs
are built again, `--all` builds every pair (about ten minutes on two slow cores).
"""

import argparse

from attncli import attention, backbones
from tests.generate import claim_tests, compatibility, overheads, tables


def main() -> None:
    """Generate what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.generate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mechanism or backbone to build again")
    parser.add_argument("--all", action="store_true", help="build every pair again")
    arguments = parser.parse_args()
    names = {*attention.mechanism_names(), *backbones.backbone_names()}
    if unknown := set(arguments.names) - names:
        parser.error(f"neither a mechanism nor a backbone: {', '.join(sorted(unknown))}")
    compatibility.write_file(names if arguments.all else set(arguments.names))
    tables.write_help()
    overheads.write_overheads()
    claim_tests.write_table()


if __name__ == "__main__":
    main()
