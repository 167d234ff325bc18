"""Strategies for garbage: values of any type, and texts and trees that begin as valid ones and are damaged."""

import contextlib
import json
import string
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WORDS = (
    "", " ", "none", "null", "~", "nan", ".inf", "-1", "0", "1e999", "true", "eca", "resnet20", "train.lr", "a.b.c",
    "..", "=", "==", "a=b", "[", "]", "{", "}", "{}", "[]", "[1, 2", "- ", "?", "? a", "!!python/object:os.system x",
    "!!set {a}", "!!binary aGk=", "!!timestamp 2001-01-01", "2001-01-01", "0x1f", "0o17", "1_000", "<<: *a",
    "&a [*a]", "*a", "%TAG", "%", "\x00", "\x1b[31m", "\u2028", "\ud800", "猫", "é", "'", '"', "`", "$(x)",
    "~nosuchuser/x", "/", ".", "/dev/null", "../" * 50, "x" * 5000, "²", "\u0661", "1e3", "12345678901234567890123",
    "-0", "+", "a: b: c", "# x", "\t", "\r\n", "|", ">", "a-*", "nosuch.py", ".py", "data: [", "seed", "seeds",
    "category: x", "{category: channel}", "all", "no", "yes",
)  # fmt: skip

words = st.sampled_from(WORDS)
numbers = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 10**30, -(10**30), 2**63]),
    st.integers(0, 999),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-320, 1e308]),
    st.floats(),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, words, st.text(string.printable, max_size=12))
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words | st.sampled_from([1, None, 2.5]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def damage_tree(draw: st.DrawFn, tree: Any) -> Any:
    """Draw a copy of a tree of which a part is replaced, left out, or given another name."""
    if isinstance(tree, dict) and tree and draw(st.integers(0, 7)):
        copy, key = dict(tree), draw(st.sampled_from(list(tree)))
        action = draw(st.sampled_from(["remove", "rename", "replace", *["damage"] * 5]))
        if action == "remove":
            del copy[key]
        elif action == "rename":
            copy[draw(words)] = copy.pop(key)
        else:
            copy[key] = draw(values if action == "replace" else damage_tree(copy[key]))
        return copy
    if isinstance(tree, list) and tree and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(tree) - 1))
        return [*tree[:index], draw(damage_tree(tree[index])), *tree[index + 1 :]]
    return draw(values)


@st.composite
def damage_text(draw: st.DrawFn, text: str) -> bytes:
    """Draw a text as bytes with some characters, words or lines replaced, doubled, left out, or cut off."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        position = draw(st.integers(0, len(line)))
        action = draw(st.sampled_from(["remove", "double", "cut", "repeat", "value", "insert", "insert"]))
        if action == "repeat":
            lines.insert(index, draw(st.sampled_from(lines)))
            continue
        inserted = draw(st.sampled_from((*WORDS, *string.punctuation)))
        value = f"{line.partition(':')[0]}: {inserted}\n"
        lines[index] = {
            "remove": "", "double": line + line, "cut": line[:position], "value": value if ":" in line else line,
            "insert": line[:position] + inserted + line[position:],
        }[action]  # fmt: skip
    data = "".join(lines).encode("utf-8", "surrogatepass")
    if not draw(st.integers(0, 9)):
        position = draw(st.integers(0, len(data)))
        data = data[:position] + draw(st.binary(min_size=1, max_size=8)) + data[position:]
    return data


@st.composite
def damage_json(draw: st.DrawFn, tree: Any) -> bytes:
    """Draw a tree that is damaged, as JSON that may be damaged once more."""
    text = json.dumps(draw(damage_tree(tree)), default=str)
    return draw(damage_text(text)) if draw(st.integers(0, 2)) == 0 else text.encode("utf-8", "surrogatepass")


def try_each(garbage: st.SearchStrategy[Any], use: Callable[[Any], Any], tries: int, *allowed: type[Exception]) -> None:
    """Use so many pieces of garbage, the same ones in each call.

    Any error but those that are allowed is raised, with the smallest piece that hypothesis finds.
    """

    @settings(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(garbage)
    def attempt(piece: Any) -> None:
        with contextlib.suppress(*allowed):
            use(piece)

    attempt()
