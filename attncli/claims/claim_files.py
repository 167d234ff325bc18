"""Claims of the literature: one YAML file per mechanism in literature/data/claims, one entry per claim.

    - id: eca-params
      kind: params
      text: adds fewer than 100 parameters to ResNet-50
      source: ECA-Net paper, abstract
      check: params(resnet50 + eca) - params(resnet50) < 100     # attncli.claims.language
      on: imagenet          # dataset of the source, if it matters
      size: 224             # pixels, if not the dataset's
      strength: direction   # the check asks for any gain, the text names its size
      note: what a reader of the verdict must know

In place of `check` a claim of attncli itself may name the `test` of this repository that shows it; any claim may say
why it is `untestable`.

pydantic is not used here: an error names the line and column of its key, which pydantic does not know, and `check` is
a small language whose errors point into the text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from attncli.claims import language, networks
from attncli.claims.language import LanguageError
from attncli.dataset_catalog import suggest_dataset
from attncli.errors import CollectedError, UserError, suggest_name, unknown_name_error
from attncli.literature.claim_entries import CLAIMS_FOLDER
from attncli.recipe import compose_yaml, describe_yaml_error, suggest_yaml_fix
from attncli.system.files import read_user_text

KINDS = (
    "params", "flops", "speed", "memory", "accuracy", "ablation", "structure", "property", "behaviour", "equivalence",
    "init", "compute", "note", "complexity", "comparison",
)  # fmt: skip
DECIDING_KEYS = ("check", "test", "untestable")
STRENGTHS = ("direction",)
REQUIRED_KEYS = ("id", "kind", "text", "source")
NULL_TAG = "tag:yaml.org,2002:null"  # of a key without a value


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim; exactly one of `check`, `test` and `untestable` is set, and `tree` with `check`."""

    id: str
    kind: str
    text: str
    source: str
    card: str  # the mechanism whose file holds it
    check: str | None = None
    tree: language.ClaimTree | None = None
    on: str | None = None
    size: int | None = None
    test: str | None = None
    untestable: str | None = None
    note: str | None = None
    evidence: str | None = None
    strength: str | None = None
    file: str | None = None  # the user's file that has it; None for a claim of attncli

    @property
    def file_option(self) -> list[str]:
        """What a command needs beside the id of a claim in a file of the user's."""
        return ["--file", self.file] if self.file else []


_KEYS = tuple(f.name for f in fields(Claim) if f.name not in ("card", "tree", "file"))
_Entry = dict[str, yaml.ScalarNode]


@cache
def load_claims() -> tuple[Claim, ...]:
    """Return all claims of all files. Raises CollectedError with everything that is wrong with them."""
    return read_claim_files(sorted(CLAIMS_FOLDER.glob("*.yaml")))


def read_claim_files(paths: Iterable[Path]) -> tuple[Claim, ...]:
    """Return the claims of these files; their mechanism is the file's name.

    Raises CollectedError with the file, line and column of every error.
    """
    claims: list[Claim] = []
    errors: list[UserError] = []
    for path in paths:
        _read_claim_file(path, claims, errors)
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            errors.append(UserError(f"claim '{claim.id}' stands twice", "an id belongs to one claim"))
        seen.add(claim.id)
    if errors:
        raise CollectedError(errors)
    return tuple(claims)


def select_claims(
    known: Sequence[Claim], ids: Sequence[str] = (), *, attn: Sequence[str] = (), kinds: Sequence[str] = ()
) -> list[Claim]:
    """Return the claims of these ids, about these mechanisms, of these kinds; without names of a sort, all.

    Raises CollectedError for unknown names, with the nearest known ones.
    """
    cards = {c.card for c in known}
    selections = (
        ("claim", ids, {c.id for c in known}),
        ("mechanism with claims", attn, cards),
        ("kind", kinds, set(KINDS)),
    )
    if errors := [
        unknown_name_error(kind, name, allowed)
        for kind, names, allowed in selections
        for name in names
        if name not in allowed
    ]:
        raise CollectedError(errors)
    selected = [c for c in known if (not ids or c.id in ids) and (not attn or c.card in attn)]
    return [c for c in selected if not kinds or c.kind in kinds]


def _read_claim_file(path: Path, claims: list[Claim], errors: list[UserError]) -> None:
    """Add the claims of a file to `claims`, and what is wrong with them to `errors`."""
    try:
        root = compose_yaml(read_user_text(path, "give a file of claims"))
    except UserError as error:
        return errors.append(error)
    except yaml.YAMLError as error:
        return errors.append(
            UserError(f"{path}: not valid YAML: {describe_yaml_error(error)}", suggest_yaml_fix(error))
        )
    if root is None:
        return None
    if not isinstance(root, yaml.SequenceNode):
        return errors.append(UserError(f"{path}: not a list of claims", "- id: ..."))
    for node in root.value:
        try:
            claims.append(_make_claim(_read_entry(path, node), path))
        except UserError as error:
            errors.extend(error.single_errors)
    return None


def _read_entry(path: Path, node: yaml.Node) -> _Entry:
    """Return the values of a claim by key."""
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{_format_position(path, node)}: not a claim", "- id: ...")
    entry: _Entry = {}
    for key, value in node.value:
        if key.value not in _KEYS:
            raise UserError(
                f"{_format_position(path, key)}: unknown key '{key.value}'", suggest_name(str(key.value), _KEYS)
            )
        if key.value in entry:
            raise UserError(f"{_format_position(path, key)}: key '{key.value}' stands twice", "leave one out")
        if not isinstance(value, yaml.ScalarNode):
            raise UserError(f"{_format_position(path, value)}: {key.value}: not a text", "write it in quotes")
        if value.tag != NULL_TAG and value.value.strip():
            entry[key.value] = value
    if lacking := [key for key in REQUIRED_KEYS if key not in entry]:
        raise UserError(
            f"{_format_position(path, node)}: a claim without {' and '.join(lacking)}",
            f"needed: {', '.join(REQUIRED_KEYS)}",
        )
    if sum(key in entry for key in DECIDING_KEYS) != 1:
        raise UserError(
            f"{_format_position(path, node)}: {entry['id'].value}: not one of check, test and untestable",
            "exactly one decides",
        )
    return entry


def _make_claim(entry: _Entry, path: Path) -> Claim:
    texts: dict[str, Any] = {key: " ".join(node.value.split()) for key, node in entry.items() if key != "size"}
    if texts["kind"] not in KINDS:
        raise unknown_name_error("kind", texts["kind"], KINDS, location=_format_position(path, entry["kind"]))
    if hint := suggest_dataset(texts.get("on", "")):
        raise UserError(f"{_format_position(path, entry['on'])}: on: unknown dataset: '{texts['on']}'", hint)
    size = entry["size"].value if "size" in entry else None
    if size is not None and not size.isdigit():
        raise UserError(
            f"{_format_position(path, entry['size'])}: size: '{size}' is not a number of pixels", "such as 224"
        )
    if "test" in entry and path.parent != CLAIMS_FOLDER:
        raise UserError(
            f"{_format_position(path, entry['test'])}: test: only claims of attncli itself are shown by its tests",
            "write a check, or untestable: and why",
        )
    if "strength" in entry and texts["strength"] not in STRENGTHS:
        raise unknown_name_error(
            "strength", texts["strength"], STRENGTHS, location=_format_position(path, entry["strength"])
        )
    tree = _parse_check(entry["check"], path, texts) if "check" in entry else None
    file = None if path.parent == CLAIMS_FOLDER else str(path)
    return Claim(card=path.stem, tree=tree, size=int(size) if size else None, file=file, **texts)


def _parse_check(node: yaml.ScalarNode, path: Path, texts: dict[str, str]) -> language.ClaimTree:
    """Return the claim's tree, after looking up its names."""
    text = node.value
    try:
        tree = language.parse_claim(text)
        networks.validate_claim_tree(tree)
    except LanguageError as error:
        before = text[: error.at]
        position = f"column {error.at - before.rfind(chr(10))} of check"
        if "\n" in before:
            position = f"line {before.count(chr(10)) + 1}, {position}"
        raise UserError(
            f"{_format_position(path, node)}: {texts['id']}: {position}: {error.problem}", error.hint
        ) from error
    return tree


def _format_position(path: Path, node: yaml.Node) -> str:
    return f"{path.name}, line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
