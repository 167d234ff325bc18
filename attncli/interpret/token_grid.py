"""Find the rows and columns of a sequence of tokens."""

import math

MAX_LOG_DISTANCE = math.log(1.5)  # how far the shape of a map may be from the image's


def find_token_grid(length: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return (rows, columns) of `length` tokens over an image of (H, W), as close to its shape as possible.

    One more token, a class token at the front, is allowed. None if no tiling is close enough.
    """
    best, best_distance = None, MAX_LOG_DISTANCE
    for tokens in (length, length - 1):
        for rows in range(1, tokens + 1):
            columns, remainder = divmod(tokens, rows)
            distance = abs(math.log(rows / columns * size[1] / size[0])) if columns else best_distance
            if not remainder and distance < best_distance - 1e-9:
                best, best_distance = (rows, columns), distance
    return best if best and best[0] * best[1] > 1 else None
