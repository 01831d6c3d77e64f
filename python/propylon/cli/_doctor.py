"""``propylon doctor``: what keeps a bot offline, looked for from the outside in. Starts no session."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from propylon._arguments import bare_token
from propylon._version import __version__
from propylon.cli._process import complain
from propylon.intents import Intents

__all__ = ["examine"]

_PATIENCE: Final = 10.0
"""Seconds for each step."""
_SKEW: Final = 5.0
"""Seconds by which a clock may be wrong before certificates and timestamps suffer."""
_SLOW: Final = 0.3
"""Seconds of a round trip from which on a bot feels slow."""
_FLAGS: Final = {
    Intents.GUILD_PRESENCES: 1 << 12 | 1 << 13,
    Intents.GUILD_MEMBERS: 1 << 14 | 1 << 15,
    Intents.MESSAGE_CONTENT: 1 << 18 | 1 << 19,
}
"""https://discord.com/developers/docs/resources/application#application-object-application-flags"""


@dataclass(frozen=True, slots=True)
class _Finding:
    what: str
    good: bool | None
    """None: worth knowing, and no fault."""
    text: str
    advice: str = ""


class _Examination:
    def __init__(self, intents: Intents, api_url: str, ca_file: Path | None) -> None:
        self._intents: Final = intents
        self._api: Final = api_url.rstrip("/")
        self._context: Final = ssl.create_default_context()
        if ca_file is not None:
            # Raises OSError where it is not there, ssl.SSLError where it is none.
            self._context.load_verify_locations(ca_file)
        # As a gateway does: the proxies of the environment are for those who ask for them.
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context))
        self._opener: Final = urllib.request.build_opener(*handlers)
        self._token = ""
        self._url = ""
        self._skew: float | None = None

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._api}{path}",
            headers={"Authorization": f"Bot {self._token}", "User-Agent": f"DiscordBot (propylon, {__version__})"},
        )
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                self._compare(answer.headers.get("Date"))
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            self._compare(error.headers.get("Date"))
            raise
        except http.client.HTTPException:
            raise ValueError("what answers is no HTTP server") from None
        if not isinstance(found, dict):
            raise ValueError("the answer is not what Discord's API says")
        return cast("dict[str, Any]", found)

    def _compare(self, date: str | None) -> None:
        if date:
            with contextlib.suppress(ValueError):
                self._skew = time.time() - parsedate_to_datetime(date).timestamp()

    def token(self) -> _Finding:
        raw = os.environ.get("DISCORD_TOKEN", "")
        self._token = bare_token(raw.strip())
        if not self._token:
            return _Finding("token", False, "DISCORD_TOKEN is not set", "set it to the token of the Bot page")
        if not (self._token.isascii() and self._token.isprintable() and " " not in self._token):
            # Said here: whatever refuses it later would show it.
            self._token = "unusable"
            text = "DISCORD_TOKEN holds white space, line breaks or characters that no token has"
            return _Finding("token", False, text, "copy the token alone, in one piece")
        try:
            bot = self._get("/gateway/bot")
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return _Finding("token", False, "refused (HTTP 401)", "reset it on the Bot page, and copy it whole")
            return _Finding("token", False, f"/gateway/bot: HTTP {error.code}", "try again in a few minutes")
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            return _Finding("REST API", False, f"{self._api} does not answer: {why}", "see what follows")
        self._url = str(bot.get("url", ""))
        limit: dict[str, Any] = bot.get("session_start_limit") or {}
        left, total = limit.get("remaining"), limit.get("total")
        text = f"accepted; {left} of {total} sessions left today, {bot.get('shards')} shards recommended"
        if isinstance(left, int) and isinstance(total, int) and left * 20 <= total:
            return _Finding("token", False, text, "find out what starts so many sessions before all are spent")
        return _Finding("token", True, text)

    def intents(self) -> _Finding:
        asked = self._intents & Intents.PRIVILEGED
        if not asked:
            return _Finding("intents", True, "none of these is privileged")
        if not self._url:
            return _Finding("intents", None, "cannot be looked up without a token that is accepted")
        try:
            flags = int(self._get("/applications/@me").get("flags") or 0)
        except (OSError, ValueError) as error:
            return _Finding("intents", None, f"cannot be looked up: {error}")
        missing = [intent.name for intent in asked if not flags & _FLAGS[intent]]
        if missing:
            names = ", ".join(filter(None, missing))
            return _Finding(
                "intents", False, f"not enabled: {names}", "enable them on the Bot page (Privileged Intents)"
            )
        return _Finding("intents", True, "enabled for the application")

    def clock(self) -> _Finding:
        if self._skew is None:
            return _Finding("clock", None, "nobody to compare it with")
        text = f"{abs(self._skew):.0f} s {'ahead' if self._skew > 0 else 'behind'}"
        good = abs(self._skew) <= _SKEW
        return _Finding("clock", good, text, "" if good else "let the system set it (NTP)")

    def _host(self) -> tuple[str, int]:
        parts = urlsplit(self._url or self._api)
        return parts.hostname or "", parts.port or (80 if parts.scheme in ("ws", "http") else 443)

    def _addresses(self, family: socket.AddressFamily) -> list[Any]:
        host, port = self._host()
        with contextlib.suppress(OSError):
            return [found[4] for found in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)]
        return []

    def names(self) -> _Finding:
        host, _ = self._host()
        found = [*self._addresses(socket.AF_INET), *self._addresses(socket.AF_INET6)]
        if not found:
            return _Finding("DNS", False, f"{host} has no address here", "see to the resolver (/etc/resolv.conf)")
        return _Finding("DNS", True, f"{host}: {', '.join(dict.fromkeys(str(one[0]) for one in found))}")

    def _reaches(self, family: socket.AddressFamily) -> bool:
        for address in self._addresses(family):
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(address)
                return True
        return False

    def version_6(self) -> _Finding:
        if not self._addresses(socket.AF_INET6):
            return _Finding("IPv6", None, "the host has no such address, or this machine looks for none")
        if self._reaches(socket.AF_INET6):
            return _Finding("IPv6", True, "answers")
        return _Finding("IPv6", None, "does not answer; IPv4 is tried after a quarter of a second")

    def proxy(self) -> _Finding:
        named = [
            name
            for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
            if os.environ.get(name) or os.environ.get(name.lower())
        ]
        if not named:
            return _Finding("proxy", None, "none in the environment")
        return _Finding("proxy", None, f'{", ".join(named)} set; used only with proxy="env"')

    def transport(self) -> _Finding:
        host, port = self._host()
        if urlsplit(self._url or self._api).scheme in ("ws", "http"):
            return _Finding("TLS", None, "none: the server is asked without")
        try:
            with (
                socket.create_connection((host, port), timeout=_PATIENCE) as connection,
                self._context.wrap_socket(connection, server_hostname=host) as secured,
            ):
                text = f"{secured.version()} with {host}:{port}, by the roots of this system"
                return _Finding("TLS", True, f"{text}; a gateway takes Mozilla's unless native_roots=True")
        except ssl.SSLCertVerificationError as error:
            advice = "a proxy that reads along, or a wrong clock? trust its certificates with ca_file="
            return _Finding("TLS", False, f"{host}: {error.verify_message}", advice)
        except OSError as error:
            return _Finding("TLS", False, f"{host}:{port}: {error}", "let the firewall pass TCP 443")

    def latency(self) -> _Finding:
        host, port = self._host()
        trips: list[float] = []
        for _ in range(3):
            begun = time.perf_counter()
            try:
                with socket.create_connection((host, port), timeout=_PATIENCE):
                    trips.append(time.perf_counter() - begun)
            except OSError as error:
                return _Finding("latency", False, f"{host}:{port} is out of reach: {error}", "see to the network")
        middle = statistics.median(trips)
        good = True if middle < _SLOW else None
        return _Finding("latency", good, f"{1000 * middle:.0f} ms to {host}")


def examine(intents: Intents, api_url: str, ca_file: Path | None) -> int:
    """Print what was found; 1 where something is wrong."""
    try:
        examination = _Examination(intents, api_url, ca_file)
    except OSError as error:
        complain(f"--ca-file {ca_file}: {error.strerror or error}; give a file of PEM certificates")
        return 1
    steps: list[Callable[[], _Finding]] = [
        examination.token,
        examination.intents,
        examination.clock,
        examination.names,
        examination.version_6,
        examination.proxy,
        examination.transport,
        examination.latency,
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    failed = False
    for step in steps:
        finding = step()
        failed = failed or finding.good is False
        mark = {True: "[green]ok[/]", False: "[red]wrong[/]", None: "[dim]note[/]"}[finding.good]
        table.add_row(mark, finding.what, f"{finding.text}{f': {finding.advice}' if finding.advice else ''}")
    Console().print(table)
    return int(failed)
