"""A headless Chromium, driven over its DevTools protocol: enough of it to open a page, click and look."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.pace import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    # Nothing but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
STARTING_SECONDS = 30.0


def chromium_binary() -> str | None:
    """The browser of this machine, if it has one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. `requests` holds what it asked for (CDP's `request` objects), `complaints` what it reported."""

    def __init__(self, socket: ClientConnection) -> None:
        self.requests: list[dict[str, Any]] = []
        self.frames_sent: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", {"url": "about:blank"})
        attached = await self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A command of the protocol. Raises RuntimeError when the browser refuses it."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params or {}}
        if self._session is not None:
            message["sessionId"] = self._session
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(orjson.dumps(message).decode())
        answer = await asyncio.wait_for(answered, STARTING_SECONDS)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    async def goto(self, url: str) -> None:
        await self.call("Page.navigate", {"url": url})
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited. Raises RuntimeError for what it throws."""
        answer = await self.call(
            "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression is true; its value. Fails with what the page shows by then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not (value := await self.evaluate(expression)):
            if loop.time() > end:
                shown = await self.evaluate("document.body.innerText")
                raise AssertionError(f"never true: {expression}\n{shown}\n{self.complaints}")
            await asyncio.sleep(0.05)
        return value

    async def click(self, text: str, within: str = "body") -> None:
        """Click the first visible button or summary with this text, with the mouse, as people do."""
        where = await self.until(
            f"""(() => {{
              const found = [...document.querySelector({_js(within)}).querySelectorAll("button, summary")]
                .find((one) => one.offsetParent && one.textContent.includes({_js(text)}));
              if (!found) return null;
              found.scrollIntoView({{block: "center", behavior: "instant"}});
              const box = found.getBoundingClientRect();
              return {{x: box.x + box.width / 2, y: box.y + box.height / 2}};
            }})()"""
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", {"type": kind, "button": "left", "clickCount": 1, **where})

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    async def prefer(self, **features: str) -> None:
        """Media features, such as `color_scheme="dark"`."""
        given = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", {"features": given})

    async def screenshot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))  # noqa: ASYNC240

    async def listen(self) -> None:
        """Take in what the browser says, until it is gone."""
        with suppress(ConnectionClosed):
            async for raw in self._socket:
                self._take(orjson.loads(raw))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answered = self._waiting.pop(message["id"])
            if not answered.done():
                answered.set_result(message)
            return
        params = message["params"]
        match message["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"])
            case "Network.webSocketFrameSent":
                self.frames_sent.append(orjson.loads(params["response"]["payloadData"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))


def _js(text: str) -> str:
    return orjson.dumps(text).decode()


@asynccontextmanager
async def open_page(binary: str, profile: Path) -> AsyncIterator[Page]:
    """A new browser with an empty profile, and one tab in it."""
    with (profile.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220
            [binary, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "HOME": str(profile.parent)},
        )
    try:
        address = await _debugging_address(profile / "DevToolsActivePort")
        async with connect(address, max_size=None, compression=None) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            try:
                await page.attach()
                yield page
            finally:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)


async def _debugging_address(file: Path) -> str:
    """Chromium writes its port and path to a file in its profile as soon as it listens."""
    for _ in range(int(STARTING_SECONDS / 0.05)):
        await asyncio.sleep(0.05)
        with suppress(FileNotFoundError, ValueError):
            port, path = file.read_text().split("\n")  # noqa: ASYNC240
            return f"ws://127.0.0.1:{port}{path}"
    raise AssertionError("Chromium did not start; see the log beside its profile")
