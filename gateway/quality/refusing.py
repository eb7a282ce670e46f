"""What a rule of working together forbids, with a code for programs."""

from __future__ import annotations

from gateway.errors import InvalidInput


class Refused(InvalidInput):
    """The request is understood and not done; `code` says by which rule."""

    def __init__(self, code: str, message: str, *, hint: str = "", path: str = "") -> None:
        super().__init__(message, hint=hint, path=path)
        self.code = code


def checked_text(name: str, text: str, longest: int, *, least: int = 1) -> str:
    """The text without blanks around it. Raises Refused."""
    found = text.strip()
    if not least <= len(found) <= longest or any(one < " " and one not in "\n\t\r" for one in found):
        raise Refused("TEXT", f"It must have {least} to {longest:,} characters, none of them for control.", path=name)
    return found
