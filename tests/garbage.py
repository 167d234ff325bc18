"""Garbage made with a seed: values of any type, and texts and trees that begin as valid ones and are damaged."""

import json
import random
import string
import traceback
from collections.abc import Callable
from typing import Any

WORDS = (
    "", " ", "none", "null", "~", "nan", ".inf", "-1", "0", "1e999", "true", "eca", "resnet20", "train.lr", "a.b.c",
    "..", "=", "==", "a=b", "[", "]", "{", "}", "{}", "[]", "[1, 2", "- ", "?", "? a", "!!python/object:os.system x",
    "!!set {a}", "!!binary aGk=", "!!timestamp 2001-01-01", "2001-01-01", "0x1f", "0o17", "1_000", "<<: *a",
    "&a [*a]", "*a", "%TAG", "%", "\x00", "\x1b[31m", "\u2028", "\ud800", "猫", "é", "'", '"', "`", "$(x)",
    "~nosuchuser/x", "/", ".", "/dev/null", "../" * 50, "x" * 5000, "²", "\u0661", "1e3", "12345678901234567890123",
    "-0", "+", "a: b: c", "# x", "\t", "\r\n", "|", ">", "a-*", "nosuch.py", ".py", "data: [", "seed", "seeds",
    "category: x", "{category: channel}", "all", "no", "yes",
)  # fmt: skip


class Garbage(random.Random):
    """Draws garbage; the same seed draws the same."""

    def value(self, depth: int = 3) -> Any:
        """Return a value of any type that YAML or JSON can hold."""
        kind = self.randrange(10 if depth else 7)
        if kind == 0:
            return self.choice([None, True, False])
        if kind == 1:
            return self.choice([0, 1, -1, 2, 3, 10**30, -(10**30), 2**63, self.randrange(1000)])
        if kind == 2:
            return self.choice([0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-320, 1e308, self.random()])
        if kind < 6:
            return self.choice(WORDS)
        if kind == 6:
            return "".join(self.choices(string.printable, k=self.randrange(12)))
        if kind == 7:
            return [self.value(depth - 1) for _ in range(self.randrange(4))]
        return {self.choice((*WORDS, 1, None, 2.5)): self.value(depth - 1) for _ in range(self.randrange(4))}

    def damage_tree(self, tree: Any) -> Any:
        """Return a copy of a tree of which a part is replaced, left out, or given another name."""
        if isinstance(tree, dict) and tree and self.random() < 0.85:
            copy = dict(tree)
            key = self.choice(list(copy))
            action = self.randrange(8)
            if action == 0:
                del copy[key]
            elif action == 1:
                copy[self.choice(WORDS)] = copy.pop(key)
            elif action == 2:
                copy[key] = self.value()
            else:
                copy[key] = self.damage_tree(copy[key])
            return copy
        if isinstance(tree, list) and tree and self.random() < 0.7:
            index = self.randrange(len(tree))
            return [*tree[:index], self.damage_tree(tree[index]), *tree[index + 1 :]]
        return self.value()

    def damage_text(self, text: str) -> bytes:
        """Return a text as bytes with some characters, words or lines replaced, doubled, left out, or cut off."""
        lines = text.splitlines(keepends=True) or [""]
        for _ in range(self.randrange(1, 4)):
            index, action = self.randrange(len(lines)), self.randrange(8)
            line = lines[index]
            position = self.randrange(len(line) + 1)
            if action == 0:
                lines[index] = ""
            elif action == 1:
                lines[index] = line + line
            elif action == 2:
                lines[index] = line[:position]
            elif action == 3:
                lines.insert(index, self.choice(lines))
            elif action == 4 and ":" in line:
                lines[index] = f"{line.partition(':')[0]}: {self.choice(WORDS)}\n"
            else:
                lines[index] = line[:position] + self.choice((*WORDS, *string.punctuation)) + line[position:]
        data = "".join(lines).encode("utf-8", "surrogatepass")
        if self.random() < 0.1:
            position = self.randrange(len(data) + 1)
            data = data[:position] + self.randbytes(self.randrange(1, 9)) + data[position:]
        return data

    def json_bytes(self, tree: Any) -> bytes:
        """Return a tree that is damaged, as JSON that may be damaged once more."""
        text = json.dumps(self.damage_tree(tree), default=str)
        return self.damage_text(text) if self.random() < 0.3 else text.encode("utf-8", "surrogatepass")


def find_crashes(
    seed: int, tries: int, make: Callable[[Garbage], Any], use: Callable[[Any], Any], allowed: type[Exception]
) -> list[tuple[str, Any]]:
    """Use garbage `tries` times; return each error that is not allowed, once per type and place, with its input."""
    crashes: dict[str, Any] = {}
    draws = Garbage(seed)
    for _ in range(tries):
        garbage = make(draws)
        try:
            use(garbage)
        except allowed:
            continue
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "/attncli/" in f.filename]
            place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
            crashes.setdefault(f"{type(error).__name__}: {str(error)[:150]} at {place}", garbage)
    return list(crashes.items())
