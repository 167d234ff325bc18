"""The text by which code is named is the same on each Python: an f-string is one token, as before Python 3.12."""

from tokenize import NAME, NEWLINE, OP, TokenInfo

import pytest

from attncli.measure import code_state

START, MIDDLE, END = 901, 902, 903  # stand for FSTRING_START and so on, which Python 3.11 lacks


def place_tokens(*parts: tuple[int, str, int]) -> list[TokenInfo]:
    """Return the tokens (type, text, column) of line 1."""
    return [TokenInfo(type_, text, (1, column), (1, column + len(text)), "") for type_, text, column in parts]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_state, "FORMAT_STRING_STARTS", code_state.FORMAT_STRING_STARTS | {START})
    monkeypatch.setattr(code_state, "FORMAT_STRING_ENDS", code_state.FORMAT_STRING_ENDS | {END})


def test_parts_of_an_f_string_become_one_token() -> None:
    """Also if a part is an f-string itself; `{{` is kept as written, though its token has one brace."""
    source = """x = f"{{{f'{b}'}"\n"""
    tokens = place_tokens(
        (NAME, "x", 0), (OP, "=", 2), (START, 'f"', 4), (MIDDLE, "{", 6), (OP, "{", 8), (START, "f'", 9),
        (OP, "{", 11), (NAME, "b", 12), (OP, "}", 13), (END, "'", 14), (OP, "}", 15), (END, '"', 16),
        (NEWLINE, "\n", 17),
    )  # fmt: skip
    joined = code_state.join_format_strings(tokens, source)
    assert [token.string for token in joined] == ["x", "=", """f"{{{f'{b}'}\"""", "\n"]


def test_f_string_of_several_lines_becomes_one_token() -> None:
    """Its text is that of the source, from its first quotation mark to the last."""
    source = 'x = f"""a\n  {b}\nc"""\n'
    tokens = [
        *place_tokens((NAME, "x", 0), (OP, "=", 2), (START, 'f"""', 4), (MIDDLE, "a\n  ", 8)),
        TokenInfo(NAME, "b", (2, 3), (2, 4), ""),
        TokenInfo(END, '"""', (3, 1), (3, 4), ""),
    ]
    joined = code_state.join_format_strings(tokens, source)
    assert [token.string for token in joined] == ["x", "=", 'f"""a\n  {b}\nc"""']


def test_text_of_f_strings_on_this_python() -> None:
    """What Python 3.11 gives for all kinds of them, a comment, and a line of a string alone, which is a docstring."""
    source = """f"doc"\nx = f"a{b!r:>{w}} {{c}}" 'd' rf'{e}é'  # why\ny = f'{"é"}' + z\n"""
    assert code_state.strip_comments(source) == """x = f"a{b!r:>{w}} {{c}}" 'd' rf'{e}é' \n y = f'{"é"}' + z \n """
