"""Name the code that trained a run, so that runs of different code are not compared as if only the mechanism differed.

The name has two parts, `<loop>/<mechanism>`: a hash of the code that all runs share (data, training, networks), and a
hash of the mechanism's own file and the modules of its author that it imports. Comments and docstrings do not count.
A user's own network or file of weights makes a third part, `/<network>`: a hash of the content of these files.
"""

import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenInfo

from attncli import attention
from attncli.measure.code_cache import PACKAGE, read_values, stamp_code, write_values
from attncli.recipe import Model, Recipe
from attncli.recipe.file_identity import hash_json, name_backbone_by_content, name_weights_by_content
from attncli.system.code_reference import is_code_reference
from attncli.system.source_inspection import read_source

LOOP_PARTS = ("data", "train", "backbones", "model", "seeds.py", "attention")  # of attention the shared files only
LAYOUT_TOKENS = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
# since Python 3.12 (3.14) an f-string (t-string) is many tokens, before it was one
FORMAT_STRING_STARTS = {getattr(tokenize, name, None) for name in ("FSTRING_START", "TSTRING_START")} - {None}
FORMAT_STRING_ENDS = {getattr(tokenize, name, None) for name in ("FSTRING_END", "TSTRING_END")} - {None}
_LOOP = "loop"
_known_hashes: dict[str, str] = {}  # of the code of this process, which does not change


def name_training_code(recipe: Recipe, cache_folder: Path | None = None) -> str:
    """Return `<loop>/<mechanism>`, eight hexadecimal digits each; a network without a mechanism has no second part.

    With a user's own network or weights it is `<loop>/<mechanism>/<network>`. Reading all code takes 0.3 s:
    `cache_folder` keeps the first part until a file changes. Raises UserError if a file of the user cannot be read.
    """
    code = f"{_hash_loop(cache_folder)}/{_hash_mechanism(recipe.model.attn)}"
    network = _hash_network_files(recipe.model)
    return f"{code}/{network}" if network else code


def _hash_mechanism(attn: str) -> str:
    """Return the hash of a mechanism's code, "" for none."""
    if attn == attention.NONE:
        return ""
    members = attention.describe_mechanism(attn).members
    return _hash_files(file for member in members for file in attention.list_code_files(member.reference).values())


def _hash_network_files(model: Model) -> str:
    """Return the hash of the user's files that make the plain network and its first weights, "" if there are none."""
    names = [name_backbone_by_content(model.backbone)] if is_code_reference(model.backbone) else []
    names += [name_weights_by_content(model.pretrained)] if isinstance(model.pretrained, str) else []
    return hash_json(names)[:8] if names else ""


def _hash_loop(cache_folder: Path | None) -> str:
    if _LOOP not in _known_hashes:
        _known_hashes[_LOOP] = _read_or_compute_loop(cache_folder)
    return _known_hashes[_LOOP]


def _read_or_compute_loop(cache_folder: Path | None) -> str:
    if cache_folder is None:
        return _compute_loop()
    stamp = stamp_code((*LOOP_PARTS, "measure/code_state.py"))
    kept = read_values(cache_folder, "code", stamp).get(_LOOP)
    if isinstance(kept, str):
        return kept
    loop = _compute_loop()
    write_values(cache_folder, "code", stamp, {_LOOP: loop})
    return loop


def _compute_loop() -> str:
    return _hash_files(file for part in LOOP_PARTS for file in _list_files(PACKAGE / part))


def _list_files(path: Path) -> list[Path]:
    """Return a file itself, or the Python files of a package; of `attention` only those that mechanisms share."""
    if path.is_file():
        return [path]
    return sorted(path.glob("*.py") if path.name == "attention" else path.rglob("*.py"))


def _hash_files(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + strip_comments(read_source(file)).encode())
    return digest.hexdigest()[:8]


def strip_comments(source: str) -> str:
    """Return Python source without comments, docstrings, and spaces inside of lines; the same on each Python."""
    kept_texts: list[str] = []
    previous, follows_docstring = tokenize.ENCODING, False
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    for token in join_format_strings(tokens, source):
        if token.type in (tokenize.COMMENT, tokenize.NL) or (follows_docstring and token.type == tokenize.NEWLINE):
            continue
        follows_docstring = token.type == tokenize.STRING and previous in LAYOUT_TOKENS
        if not follows_docstring:
            previous = token.type
            kept_texts.append(token.string)
    return " ".join(kept_texts)


def join_format_strings(tokens: Iterable[TokenInfo], source: str) -> Iterator[TokenInfo]:
    """Yield the tokens of a source with each f-string as one STRING, its exact text, as Python before 3.12 has it."""
    lines = source.split("\n")
    depth, start = 0, (1, 0)
    for token in tokens:
        if token.type in FORMAT_STRING_STARTS:
            start = token.start if depth == 0 else start
            depth += 1
        elif token.type in FORMAT_STRING_ENDS:
            depth -= 1
            if depth == 0:
                text = _cut_text(lines, start, token.end)
                yield TokenInfo(tokenize.STRING, text, start, token.end, token.line)
        elif depth == 0:
            yield token


def _cut_text(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text between two places, each (line from 1, column from 0)."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    return "\n".join([lines[start[0] - 1][start[1] :], *lines[start[0] : end[0] - 1], lines[end[0] - 1][: end[1]]])
