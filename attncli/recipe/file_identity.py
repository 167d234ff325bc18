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
from attncli.system.files import expand_user_path

CODE_HINT = "give the path of a readable .py file"


def hash_json(value: Any) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def name_mechanism_by_content(attn: str) -> str:
    """Return a name for model.attn that changes with the code that it means; our own mechanisms keep theirs.

    The code of a user's file is the file and the local modules that it imports. Of an installed package it is the
    version and the modules that the mechanism imports from it. A mechanism that is not installed keeps its name.
    Raises UserError if the file cannot be read.
    """
    if attention.is_file_path(attn):
        files = attention.list_code_files(attn)
        if len(files) == 1:
            return _name_by_content(files[""], CODE_HINT)
        return f"{files[''].stem}@{hash_json(_name_each_by_content(files))}"
    version = attention.get_package_version(attn)
    if version is None:
        return attn
    return f"{attn}@{hash_json([version, _name_each_by_content(attention.list_code_files(attn))])}"


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
