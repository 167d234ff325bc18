"""How far a typed word is from a known one: the edit distance, with the typing errors weighed by how common they are.

It is the distance of Damerau (1964) as optimal string alignment: letters that are missing, extra, wrong or swapped with
their neighbour.
"""

MISSING = EXTRA = SWAPPED = 1.0
DOUBLED = 0.5  # an extra letter that repeats the one before
WRONG_LETTER = 1.5  # more than a missing or an extra one
WRONG_DIGIT = 1.0  # mostly another size of the same thing


def measure_typing_errors(typed: str, word: str) -> tuple[float, float]:
    """Return the errors by which `typed` stands for the word, and the fewest by which it stands for a beginning of it.

    Two empty texts have none.
    """
    rows = [[MISSING * j for j in range(len(word) + 1)]]
    for i, letter in enumerate(typed, 1):
        extra = DOUBLED if i > 1 and typed[i - 2] == letter else EXTRA
        row = [rows[-1][0] + extra]
        for j, wanted in enumerate(word, 1):
            cost = min(rows[-1][j] + extra, row[-1] + MISSING, rows[-1][j - 1] + _weigh_substitution(letter, wanted))
            if i > 1 and j > 1 and (typed[i - 2], letter) == (wanted, word[j - 2]):
                cost = min(cost, rows[-2][j - 2] + SWAPPED)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1], min(rows[-1])


def _weigh_substitution(letter: str, wanted: str) -> float:
    if letter == wanted:
        return 0.0
    return WRONG_DIGIT if letter.isdigit() and wanted.isdigit() else WRONG_LETTER
