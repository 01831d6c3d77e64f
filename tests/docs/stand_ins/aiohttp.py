"""As much of aiohttp as the guide uses; prints what it would send, and that it is closed."""

import json as json_module
from typing import Any, Self


class ClientResponse:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def raise_for_status(self) -> None: ...


class ClientSession:
    def __init__(self, *, headers: dict[str, str]) -> None:
        assert headers["Authorization"].startswith("Bot ")
        self.closed = True

    async def __aenter__(self) -> Self:
        self.closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        print("aiohttp session closed", flush=True)

    def post(self, url: str, *, json: dict[str, Any]) -> ClientResponse:
        assert not self.closed
        print("POST", url, json_module.dumps(json), flush=True)
        return ClientResponse()
