"""Changed files as a patch that `git apply` takes, inside the contract's folder."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

_NO_END = "\\ No newline at end of file\n"


def unified_diff(before: Mapping[str, str], changed: Mapping[str, str | None]) -> str:
    """What makes of the files `before` those in `changed`, by path; None: the file goes. Empty without a difference."""
    return "".join(line for path in sorted(changed) for line in _file(path, before.get(path), changed[path]))


def _file(path: str, old: str | None, new: str | None) -> Iterator[str]:
    if old == new:
        return
    yield f"diff --git a/{path} b/{path}\n"
    if old is None:
        yield "new file mode 100644\n"
    elif new is None:
        yield "deleted file mode 100644\n"
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    for line in difflib.unified_diff(_lines(old), _lines(new), *names):
        yield line if line.endswith("\n") else f"{line}\n{_NO_END}"


def _lines(text: str | None) -> list[str]:
    """Lines as git has them: only a line feed ends one."""
    *whole, rest = (text or "").split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])
