"""A bot of slash commands and buttons: interactions come by the Gateway, and are answered by HTTP.

``/roll`` answers at once, ``/report`` says that it is thinking and answers later, and a button counts its clicks. With
``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/interactions.py

It needs aiohttp, and no intent at all.
"""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import ClientSession, ClientTimeout

from propylon import Gateway, GatewayClosed, Intents
from propylon.events import InteractionCreate, Ready
from propylon.models import CommandOptionType, InteractionType
from propylon.testing import Simulator, make

log = logging.getLogger("interactions")

API = "https://discord.com/api/v10/"
# Discord wants to know who calls: your site, and the version of your bot.
USER_AGENT = "DiscordBot (https://bot.example, 1.0)"

COMMANDS: list[dict[str, Any]] = [
    {
        "name": "roll",
        "description": "Roll a die",
        "options": [{"type": 4, "name": "sides", "description": "How many it has", "min_value": 2, "max_value": 100}],
    },
    {"name": "report", "description": "Something that takes a while"},
]

# https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object
MESSAGE, THINKING, UPDATE = 4, 5, 7
ONLY_FOR_THE_USER = 64


class Answers:
    """How interactions are answered. The token of the interaction is what lets in; it is valid for 15 minutes."""

    def __init__(self, http: ClientSession) -> None:
        """``http`` knows the base URL and the bot's token."""
        self.http = http

    async def register(self, application_id: int, commands: list[dict[str, Any]]) -> None:
        """Replace the global commands of the application; no harm is done by doing so at each start."""
        await self._send("PUT", f"applications/{application_id}/commands", commands)

    async def respond(self, interaction: InteractionCreate, kind: int, **data: Any) -> None:
        """The first answer, within 3 seconds."""
        body = {"type": kind, "data": data}
        await self._send("POST", f"interactions/{interaction.id}/{interaction.token}/callback", body)

    async def edit(self, interaction: InteractionCreate, **data: Any) -> None:
        """Change the first answer, within 15 minutes."""
        path = f"webhooks/{interaction.application_id}/{interaction.token}/messages/@original"
        await self._send("PATCH", path, data)

    async def _send(self, method: str, path: str, body: Any) -> None:
        async with self.http.request(method, path, json=body) as response:
            if not response.ok:
                # The body says which field is wrong. Not the path: it holds the token of the interaction.
                raise RuntimeError(f"{method}: {response.status} {await response.text()}")


def button(clicks: int) -> list[dict[str, Any]]:
    """A row with one button, which knows how often it was clicked: no state is kept here."""
    return [{"type": 1, "components": [{"type": 2, "style": 1, "label": f"{clicks}", "custom_id": f"clicks:{clicks}"}]}]


async def on_command(interaction: InteractionCreate, answers: Answers) -> None:
    """A slash command."""
    command = interaction.command
    if command is None:
        return
    if command.name == "roll":
        sides = command.arguments.get("sides")
        rolled = random.randint(1, (sides.integer if sides else None) or 6)
        await answers.respond(interaction, MESSAGE, content=f"You rolled {rolled}.", components=button(0))
    elif command.name == "report":
        # More than 3 seconds: say so first, then take up to 15 minutes.
        await answers.respond(interaction, THINKING, flags=ONLY_FOR_THE_USER)
        await asyncio.sleep(0.1)  # a database, say
        await answers.edit(interaction, content="All is well.")


async def on_click(interaction: InteractionCreate, answers: Answers) -> None:
    """A click on a button."""
    component = interaction.component
    if component is not None and component.custom_id.startswith("clicks:"):
        clicks = int(component.custom_id.removeprefix("clicks:")) + 1
        await answers.respond(interaction, UPDATE, components=button(clicks))


def make_bot(token: str, *, api: str = API, gateway_url: str | None = None) -> Gateway:
    """The gateway with its listeners; interactions need no intent."""
    bot = Gateway(token, intents=Intents(0), lifespan=with_answers(token, api), gateway_url=gateway_url)

    @bot.listen
    async def on_ready(ready: Ready, answers: Answers) -> None:
        await answers.register(ready.application.id, COMMANDS)
        log.info("%d commands are registered", len(COMMANDS))

    @bot.listen
    async def on_interaction(interaction: InteractionCreate, answers: Answers) -> None:
        if interaction.type == InteractionType.APPLICATION_COMMAND:
            await on_command(interaction, answers)
        elif interaction.type == InteractionType.MESSAGE_COMPONENT:
            await on_click(interaction, answers)

    @bot.on_error
    def on_error(error: Exception) -> None:
        log.error("an interaction was not answered", exc_info=error)

    # Pyright takes functions that nobody calls by name for mistakes; the decorators have registered them.
    _ = on_ready, on_interaction, on_error
    return bot


def with_answers(token: str, api: str) -> Callable[[Gateway], AbstractAsyncContextManager[Answers]]:
    """A lifespan: the HTTP client is there before the first event, and closed after the last call of a listener."""

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncGenerator[Answers]:
        headers = {"Authorization": f"Bot {token}", "User-Agent": USER_AGENT}
        async with ClientSession(api, headers=headers, timeout=ClientTimeout(total=30)) as http:
            yield Answers(http)

    return lifespan


async def people(simulator: Simulator) -> None:
    """Simulated ones: they use each command, and click."""
    await simulator.wait_for("ready", count=1, timeout=60)
    sides = {"name": "sides", "type": CommandOptionType.INTEGER, "value": 20}
    command, click = InteractionType.APPLICATION_COMMAND, InteractionType.MESSAGE_COMPONENT
    used: list[tuple[int, dict[str, Any]]] = [
        (command, {"id": "1", "name": "roll", "type": 1, "options": [sides]}),
        (command, {"id": "2", "name": "report", "type": 1}),
        (click, {"custom_id": "clicks:41", "component_type": 2}),
    ]
    for number in range(1_000_000):
        kind, data = used[number % len(used)]
        interaction = make(InteractionCreate, id=number + 1, token=f"secret{number}", type=kind, data=data)
        simulator.dispatch("INTERACTION_CREATE", interaction)
        await asyncio.sleep(0.2)


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        await make_bot(token).serve()
        return
    from stand_ins import rest_api

    log.info("DISCORD_TOKEN is not set: this is a simulated Discord")
    async with Simulator() as simulator, rest_api() as api:
        talking = asyncio.create_task(people(simulator))
        try:
            await make_bot("simulated", api=api, gateway_url=simulator.url).serve()
        finally:
            talking.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        raise SystemExit(str(error)) from None
