"""Makes text from the peer safe for logs, exceptions and terminals."""

from __future__ import annotations

# The largest number of characters in the result.
LONGEST = 200
_CUT = "..."


def shown(text: str | bytes, limit: int = LONGEST) -> str:
    """What the peer sent as at most ``limit`` printable characters.

    Line breaks, control characters, invisible ones and backslashes are escaped as in Python, bytes
    that are not UTF-8 as ``\\xff``. What is cut ends with three dots.
    """
    # An escape is longer than the character that it replaces, so text beyond the limit is never
    # shown.
    part = text[: limit + 1] if isinstance(text, str) else text[: 4 * limit + 4]
    if isinstance(part, bytes):
        part = part.decode("utf-8", "surrogateescape")
    result = "".join(map(_escaped, part))
    if len(result) <= limit and len(part) <= limit:
        return result
    return result[: limit - len(_CUT)] + _CUT


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # A byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
