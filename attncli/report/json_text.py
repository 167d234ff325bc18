"""Values as JSON text."""

import json
import math
from typing import Any


def format_json(value: Any) -> str:
    """Return a value as indented JSON; NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_replace_nonfinite(value), indent=2, default=str)


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
