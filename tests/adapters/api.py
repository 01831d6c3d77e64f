"""A stand-in for Discord's REST API: what a library asks when it logs in, and the simulator's ``/gateway/bot``."""

import json
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, web

from propylon.testing import Simulator

BOT_ID = 503_316_480_000_000_001
USER = {
    "id": str(BOT_ID),
    "username": "propylon-sim",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": True,
    "flags": 0,
    "public_flags": 0,
    "mfa_enabled": True,
    "verified": True,
    "locale": "en-US",
}
APPLICATION: dict[str, Any] = {
    "id": str(BOT_ID),
    "name": "propylon-sim",
    "icon": None,
    "description": "",
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "0" * 64,
    "flags": (1 << 12) | (1 << 14) | (1 << 18),
    "owner": {**USER, "id": "900000000000000002", "username": "owner", "bot": False},
    "team": None,
    "summary": "",
    "rpc_origins": [],
    "tags": [],
    "approximate_guild_count": 1,
    "approximate_user_install_count": 0,
}


def _json(data: object, status: int = 200) -> web.Response:
    # As Discord sends it: without a charset, which discord.py would not take for JSON.
    return web.Response(body=json.dumps(data).encode(), status=status, headers={"Content-Type": "application/json"})


class Api:
    """The server, in the event loop of the test."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.asked: list[str] = []
        """Paths, in their order."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/api/v10/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}/api/v10"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.asked.append(path)
        match path:
            case "users/@me":
                return _json(USER)
            case "applications/@me" | "oauth2/applications/@me":
                return _json(APPLICATION)
            case "gateway/bot" | "gateway":
                headers = {"Authorization": request.headers.get("Authorization", "")}
                async with (
                    ClientSession() as session,
                    session.get(f"{self._simulator.api_url}/{path}", headers=headers) as answer,
                ):
                    body = await answer.text()
                    return _json(json.loads(body), status=answer.status)
            case _:
                return _json({"message": "404: Not Found", "code": 0}, status=404)
