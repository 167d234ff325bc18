"""Errors for the user: one line with the problem, and a hint about what to do."""

import difflib
import json
import os
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from attncli.spelling import measure_typing_errors

LAUNCHER_FOLDER_VARIABLE = "ATTNCLI_CONFIDED"  # the folder in which the processes of one run write their errors

MOST_KNOWN = 80  # names that a hint lists
SHORTEST_BEGINNING, MOST_MEANT = 4, 5  # letters of a beginning, and how many things it may be the beginning of
MOST_ERRORS = 0.35  # typing errors per letter, up to which a word is near
LEFT_OVER = 0.05  # typing errors that each letter counts after a beginning
CLASS_WORDS = ("attention", "attn", "module", "layer", "block", "net", "2d")  # ends of the names of classes


class UserError(Exception):
    """Something the user can fix: bad input (exit code 2) or a run that failed (exit code 1).

    `problem` says what is wrong and where, `hint` what to do about it, each in one line that can be printed, whatever
    names of files are in it; `code` is the exit code. `on_all_ranks` is true for errors that occur in all processes of
    a run alike.
    """

    on_all_ranks = False

    def __init__(self, problem: str, hint: str = "", *, code: int = 2) -> None:
        self.problem = escape_unprintable(problem)
        self.hint = escape_unprintable(hint)
        self.code = code
        super().__init__(self.problem)

    @property
    def single_errors(self) -> list["UserError"]:
        """The error itself, or all errors that it collects."""
        return [self]


class CollectedError(UserError):
    """Several errors found at once."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("", join_hints(*(e.hint for e in errors)))
        self.problem = "\n".join(e.problem for e in errors)
        self.args = (self.problem,)
        self.errors = list(errors)

    @property
    def single_errors(self) -> list[UserError]:
        """The errors in the order in which they were found."""
        return self.errors


class RunFailedError(UserError):
    """A run that started and then failed (exit code 1)."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint, code=1)


class Interrupted(UserError):  # noqa: N818 - raised on Ctrl-C or SIGTERM, not a failure
    """Training was asked to stop and did, with a checkpoint if it has a folder (exit code 130)."""

    on_all_ranks = True

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint, code=130)


def report_to_launcher(error: UserError, trace: str = "") -> bool:
    """Write an error to a file for the launcher that started this process; return False if there is no launcher."""
    if LAUNCHER_FOLDER_VARIABLE not in os.environ or "RANK" not in os.environ:
        return False
    rank = int(os.environ["RANK"])
    error_fields = {"problem": error.problem, "hint": error.hint, "code": error.code, "common": error.on_all_ranks}
    path = Path(os.environ[LAUNCHER_FOLDER_VARIABLE]) / f"{rank:06}.json"
    path.write_text(json.dumps({"rank": rank, "trace": trace, **error_fields}), encoding="utf-8")
    return True


def has_other_rank_failed() -> bool:
    """Return whether another process of this run has reported an error of its own to the launcher of both."""
    for path in Path(os.environ.get(LAUNCHER_FOLDER_VARIABLE, os.devnull)).glob("*.json"):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is being written
            continue
        if not report["common"] and str(report["rank"]) != os.environ.get("RANK"):
            return True
    return False


def escape_unprintable(text: str) -> str:
    r"""Return a text that can be printed in one line: control characters and bytes that are not UTF-8 as \n, \xe9."""
    return text if text.isprintable() else "".join(map(_escape_character, text))


def _escape_character(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # Python's stand-in for a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode() if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char


def suggest_name(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str:
    """Return a hint: 'did you mean ...' with the nearest name or one with a near beginning, else all known names.

    Letter case, hyphens, underscores and other signs do not count, nor words at the end as in SEAttention or GCBlock.

    Args:
        name: what was typed.
        known: the names that are allowed.
        aliases: other names, such as those of papers and repositories, and what to suggest for each.
    """
    known = sorted(set(known))
    normal_form = unicodedata.normalize("NFC", name)
    for candidate in known:
        if candidate != name and unicodedata.normalize("NFC", candidate) == normal_form:
            return f"'{candidate}' looks the same but has another form of Unicode (NFC, NFD): rename one of them"
    suggestions = {fold_name(alias): text for alias, text in (aliases or {}).items()}
    suggestions |= {fold_name(candidate): f"'{candidate}'" for candidate in reversed(known)}
    folded = fold_name(name)
    for spelling in (folded, strip_class_words(folded)):
        if spelling in suggestions:
            return f"did you mean {suggestions[spelling]}?"
    names = {fold_name(candidate) for candidate in known}
    if best := _find_nearest(folded, names, suggestions) or _find_most_similar(folded, names, suggestions):
        return f"did you mean {suggestions[best]}?"
    if meant := _find_beginnings(folded, suggestions):
        return f"did you mean {' or '.join(meant)}?"
    if len(known) > MOST_KNOWN:
        return f"{len(known)} names are known, for example {', '.join(known[:: len(known) // 5][:5])}"
    return f"known: {', '.join(known)}" if known else ""


def _find_nearest(folded: str, names: Set[str], words: Iterable[str]) -> str | None:
    """Return the word with the fewest typing errors, if they are few for its length; of equal ones a name.

    A name also stands for its beginnings: the letters that are left over count little.
    """
    costs: dict[str, float] = {}
    for word in words:
        whole, beginning = measure_typing_errors(folded, word)
        is_beginning = word in names and len(folded) > 1
        if min(whole, beginning if is_beginning else whole) <= MOST_ERRORS * len(folded):
            left_over = beginning + LEFT_OVER * max(1, len(word) - len(folded))
            costs[word] = min(whole, left_over) if is_beginning else whole
    return min(costs, key=lambda word: (costs[word], word not in names, word), default=None)


def _find_beginnings(folded: str, suggestions: Mapping[str, str]) -> list[str]:
    """Return what the words mean that begin with all that was typed, such as `squeeze`; none if they are many."""
    meant = sorted({text for word, text in suggestions.items() if word.startswith(folded)})
    return meant if len(folded) >= SHORTEST_BEGINNING and len(meant) <= MOST_MEANT else []


def _find_most_similar(folded: str, names: Set[str], words: Iterable[str]) -> str | None:
    """Return the word that shares most letters in their order, if they are many; of equal ones a name."""
    similar = difflib.get_close_matches(folded, words, n=4, cutoff=0.6)
    ranks = {word: (-difflib.SequenceMatcher(None, word, folded).ratio(), word not in names) for word in similar}
    return min(similar, key=lambda word: ranks[word], default=None)


def quote_word(word: object) -> str:
    """Return a path, or a `key=value`, as one word of a command that a hint tells the user to type."""
    return shlex.quote(str(word))


def join_hints(*hints: str) -> str:
    """Return one hint made of several, of which any may be empty or the same as another."""
    return "; ".join(hint for hint in dict.fromkeys(hints) if hint)


def strip_class_words(folded: str) -> str:
    """Return a folded name without the words that classes of networks end with; as it is if it has no others."""
    for word in CLASS_WORDS:
        if folded.endswith(word) and folded != word:
            return strip_class_words(folded.removesuffix(word))
    return folded


def fold_name(name: str) -> str:
    """Return a name in lower case, letters and digits only; as it is if it has none."""
    return "".join(char for char in name.casefold() if char.isalnum()) or name


def unknown_name_error(
    kind: str, name: str, known: Iterable[str], location: str = "", aliases: Mapping[str, str] | None = None
) -> UserError:
    """Return the error for an unknown name, with the most similar known one as hint; see `suggest_name`."""
    prefix = f"{location}: " if location else ""
    return UserError(f"{prefix}unknown {kind}: '{name}'", suggest_name(name, known, aliases))
