"""Names of a user's files and of other packages' mechanisms that change with their content: they count in digests."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from attncli import attention
from attncli.errors import UserError
from attncli.recipe.run_weights import locate_weights
from attncli.system.code_reference import is_code_reference, split_code_reference, split_combination
from attncli.system.files import expand_user_path
from attncli.system.local_imports import find_local_modules

CODE_HINT = "give the path of a readable .py file"


def hash_json(value: Any) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def name_mechanism_by_content(attn: str) -> str:
    """Return a name for model.attn that changes with the code that it means; our own mechanisms keep theirs.

    The code of a user's file is the file and the local modules that it imports. Of an installed package it is the
    version and the modules that the mechanism imports from it. A mechanism that is not installed keeps its name.
    Each part of a combination is named by itself. Raises UserError if the file cannot be read.
    """
    return "+".join(_name_member_by_content(part) for part in split_combination(attn))


def name_backbone_by_content(backbone: str) -> str:
    """Return a name for model.backbone that changes with the code of a user's network; our own keep theirs.

    Raises UserError if the file cannot be read.
    """
    if not is_code_reference(backbone):
        return backbone
    path = expand_user_path(split_code_reference(backbone)[0], "model.backbone")
    return _name_code_by_content(backbone, {"": path, **find_local_modules(path)})


def _name_member_by_content(attn: str) -> str:
    if attention.is_file_path(attn):
        return _name_code_by_content(attn, attention.list_code_files(attn))
    version = attention.get_package_version(attn)
    if version is None:
        return attn
    return f"{attn}@{hash_json([version, _name_each_by_content(attention.list_code_files(attn))])}"


def _name_code_by_content(reference: str, files: Mapping[str, Path]) -> str:
    """Return the name of a user's code, FILE.py or FILE.py:NAME, with the digest of the files that it runs."""
    named = _name_each_by_content(files)
    name = named[""] if len(named) == 1 else f"{files[''].stem}@{hash_json(named)}"
    name_in_file = split_code_reference(reference)[1]
    return f"{name}:{name_in_file}" if name_in_file else name


def name_weights_by_content(pretrained: str) -> str:
    """Return a name for the file or run of model.pretrained that changes with the tensors' file. Raises UserError."""
    weights = locate_weights(expand_user_path(pretrained, "model.pretrained"))
    return _name_by_content(weights, "give a state dict as .pth or .safetensors")


def _name_each_by_content(files: Mapping[str, Path]) -> dict[str, str]:
    return {module: _name_by_content(file, CODE_HINT) for module, file in files.items()}


def _name_by_content(path: Path, hint: str) -> str:
    """Return a name for a file that changes with its content, not with its folder."""
    try:
        status = path.stat()
        return f"{path.stem}@{_hash_content(path, status.st_mtime_ns, status.st_size)}"
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint) from error


@lru_cache
def _hash_content(path: Path, changed: int, size: int) -> str:
    """Return the digest of the content; a file is read again only if it changed, as weights may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
