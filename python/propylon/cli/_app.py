"""The commands and their options."""

import logging
import warnings
from typing import Annotated

import typer

from propylon import Gateway, IntentsWarning, __version__
from propylon.cli import _arguments as arguments
from propylon.cli._process import complain, serve
from propylon.intents import Intents

__all__ = ["app"]

# Rich tracebacks show locals, and one of them is the token.
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_Compression = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"How the server compresses: {', '.join(arguments.COMPRESSIONS)}."),
]
_Seconds = Annotated[float | None, typer.Option(min=0.0, help="Stop after this time.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"propylon {__version__}")
        raise typer.Exit


@app.callback()
def propylon(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Propylon, a Discord Gateway client: see it run, watch a gateway, serve one."""


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long it runs.")] = 10.0,
    rate: Annotated[float, typer.Option(min=1.0, max=20_000.0, help="Events per second.")] = 2000.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 0,
) -> None:
    """Run a bot against a simulated Discord, with figures; cut its connection; count what was lost.

    Needs no token and no network. Exits with 0 only if the session was resumed and nothing was lost.
    """
    from propylon.cli._demo import run_demo

    raise typer.Exit(serve(lambda _: run_demo(seconds, rate, seed)))


@app.command()
def run(
    intents: Annotated[
        str,
        typer.Option(metavar="NAMES|NUMBER", help="Such as guilds,guild-messages, non-privileged, all, or a number."),
    ] = "non-privileged",
    event: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this event, such as MESSAGE_CREATE; repeatable.")
    ] = None,
    compression: _Compression = "zstd-stream",
    gateway_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Connect here instead of asking Discord where.")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM certificates to trust besides the public ones.")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="PROPYLON_PROXY",
            show_envvar=True,
            help="Go out through http://, https:// or socks5://user:password@host:port; env: as the environment says.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    seconds: _Seconds = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell of each step of a connection, on stderr.")] = False,
) -> None:
    """Print events as JSON lines: {"type", "shard_id", "sequence", "received_at", "data"}.

    The token is read from the environment variable DISCORD_TOKEN; a gateway on this machine needs none.
    "received_at" is in seconds of the system's monotonic clock; "data" is exactly what the gateway sent.
    """
    from propylon.cli._run import print_events

    # On stderr: stdout is for events.
    logging.basicConfig(format="propylon: %(message)s", level=logging.WARNING)
    if verbose:
        logging.getLogger("propylon").setLevel(logging.DEBUG)
    asked = arguments.intents_of(intents)
    events = arguments.event_classes(event or [])
    method = arguments.compression_of(compression)
    token = arguments.token_for(gateway_url)
    try:
        gateway = Gateway(
            token, intents=asked, compression=method, gateway_url=gateway_url, ca_file=ca_file, proxy=proxy
        )
    except (ValueError, OSError) as error:
        complain(str(error))
        raise typer.Exit(1) from None
    # What the warning says to a programmer is said to a user here.
    warnings.simplefilter("ignore", IntentsWarning)
    for kind in events:
        needed = Intents(kind.__intents__)
        if needed and not needed & asked:
            complain(f"{kind.__event_name__} needs an intent that is not asked for: {needed!r}")
    raise typer.Exit(serve(lambda signals: print_events(gateway, events, signals, count=count, seconds=seconds)))


@app.command()
def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1; 0 takes a free one.")] = 0,
    rate: Annotated[float, typer.Option(min=0.0, help="Events per second and session; 0 for none.")] = 100.0,
    flat_out: Annotated[bool, typer.Option("--flat-out", help="As many events as the client takes.")] = False,
    events: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Only these events, with commas between; else the mix of a large bot."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 0,
    compression: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What clients should ask for; others are served too, and pointed out."),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Serve wss, with a certificate made at start.")] = False,
    guilds: Annotated[int, typer.Option(min=0, help="Guilds of the bot.")] = 10,
    heartbeat_interval: Annotated[float, typer.Option(min=0.02, help="Seconds between heartbeats.")] = 41.25,
) -> None:
    """Serve a simulated Discord Gateway on this machine until Ctrl-C; any token is right."""
    from propylon.cli._simulate import simulate as serve_clients
    from propylon.testing import Simulator

    if compression is not None:
        arguments.compression_of(compression)
    simulator = Simulator(
        port=port,
        tls=tls,
        seed=seed,
        rate=None if flat_out else rate,
        events=arguments.event_names(events or []),
        guilds=guilds,
        heartbeat_interval=heartbeat_interval,
        identify_interval=0.0,
        respect_intents=True,
    )
    raise typer.Exit(serve(lambda _: serve_clients(simulator, compression), stopped=0))
