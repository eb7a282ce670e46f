"""Hostile requests to the page, its files, and to what does not exist."""

from __future__ import annotations

from tests.hostile.cases import Case


def got(name: str, path: str, *status: int, method: str = "GET", **headers: str) -> Case:
    return Case(f"page: {name}", path, status, method=method, headers=headers)


CASES = [
    got("a path out of the folder", "/assets/../../pyproject.toml", 404),
    got("an encoded path out of the folder", "/assets/%2e%2e/%2e%2e/pyproject.toml", 404),
    got("a doubly encoded path", "/assets/%252e%252e/pages.py", 404),
    got("backslashes", "/assets/..%5c..%5cpyproject.toml", 404),
    got("an absolute path", "/assets//etc/passwd", 404),
    got("a NUL in a path", "/assets/page.js%00.css", 404),
    got("a path of 60,000 characters", "/assets/" + "a" * 60_000, 404, 414),
    got("a folder", "/assets/", 404),
    got(
        "a thousand ranges",
        "/assets/page.css",
        200,
        206,
        400,
        404,
        416,
        range="bytes=" + ",".join(f"{n}-" for n in range(1_000)),
    ),
    got("a range turned round", "/assets/page.css", 200, 206, 400, 404, 416, range="bytes=9-1"),
    got("POST to the page", "/", 405, method="POST"),
    got("DELETE of the page", "/", 405, method="DELETE"),
    got("an environment file", "/.env", 404),
    got("the demo's keys", "/.gateway/demo.env", 404),
    got("a path with line ends", "/%0d%0aSet-Cookie:x=1", 404),
    got("a path of surrogates", "/%ed%a0%80", 404),
    got("a host that is not ours", "/", 200, host="evil.example"),
]
