"""The commands and their options.

Over 500 lines because each option is explained where the command has it; what commands do is in other files.
"""

import logging
import warnings
from pathlib import Path
from typing import Annotated

import typer

from propylon import Filter, Gateway, IntentsWarning, ShardManager, __version__
from propylon._core import event_intents
from propylon._fleet.spread import Shards
from propylon._gateway.options import Compression
from propylon.cli import _arguments as arguments
from propylon.cli import _cluster as cluster
from propylon.cli._process import complain, serve
from propylon.intents import Intents

__all__ = ["app"]

# Rich tracebacks show locals, and one of them is the token.
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(cluster.cluster_app, name="cluster")

_Compression = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"How the server compresses: {', '.join(arguments.COMPRESSIONS)}."),
]
_GatewayUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="PROPYLON_GATEWAY_URL",
        show_envvar=True,
        help="Connect here instead of asking Discord where.",
    ),
]
_ApiUrl = Annotated[
    str, typer.Option(metavar="URL", envvar="PROPYLON_API_URL", show_envvar=True, help="Discord's REST API.")
]
_CaFile = Annotated[str | None, typer.Option(metavar="FILE", help="PEM certificates to trust besides the public ones.")]
_Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="PROPYLON_PROXY",
        show_envvar=True,
        help="Go out through http://, https:// or socks5://user:password@host:port; env: as the environment says.",
    ),
]
_Intents = Annotated[
    str, typer.Option(metavar="NAMES|NUMBER", help="Such as guilds,guild-messages, non-privileged, all, or a number.")
]
_Shard = Annotated[str | None, typer.Option(metavar="ID/COUNT", help="This shard only, such as 0/16.")]
_ShardsOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="All shards (auto, or how many: 4), or which of how many: 0-15/64 or 0,5/16.",
    ),
]
_Verbose = Annotated[bool, typer.Option("--verbose", help="Tell of each step of a connection, on stderr.")]
_Admin = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Serve /livez, /readyz, /metrics, /snapshot and a page here, such as 127.0.0.1:9464."
    ),
]
_AdminRemote = Annotated[
    bool,
    typer.Option("--admin-remote", help="Let --admin be an address that other machines reach; there is no password."),
]
_EventNames = Annotated[
    list[str] | None, typer.Option(metavar="NAMES", help="Only these events, with commas between; repeatable.")
]
_Where = Annotated[
    list[str] | None,
    typer.Option(metavar="CONDITION", help="Only where it holds, such as 'author.id == 7'; several: where all hold."),
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
    seconds: Annotated[
        float | None, typer.Option(min=1.0, help="How long: 10, with --shards 16 or more, with --dashboard no end.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1.0, max=20_000.0, help="Events per second.")] = 2000.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 0,
    shards: Annotated[
        bool, typer.Option("--shards", help="Run 16 shards instead, and let 32 take over from them under traffic.")
    ] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Run 64 shards with troubles instead, for looking at, until Ctrl-C.")
    ] = False,
    several: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Run hosts and workers over NATS instead, kill some and drain one; takes about 40 s."
        ),
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="With --cluster: lines, on a terminal too.")] = False,
) -> None:
    """Run a bot against a simulated Discord, with figures; cut its connection; count what was lost.

    Needs no token and no network. Exits with 0 only if the session was resumed and nothing was lost; with --shards,
    only if each event was handed out once; with --cluster, which needs a nats-server, only if each was handled, and in
    order.
    """
    if shards and dashboard:
        raise typer.BadParameter("--shards and --dashboard are two demos: give one of them")
    if several:
        if shards or dashboard or seconds is not None:
            raise typer.BadParameter(
                "--cluster is a demo of its own, as long as it takes: no other switch, no --seconds"
            )
        from propylon.cli._demo_cluster import run_cluster_demo

        raise typer.Exit(serve(lambda _: run_cluster_demo(rate, seed, plain=plain)))
    if plain:
        raise typer.BadParameter("--plain goes with --cluster; the others print lines where stdout is no terminal")
    if dashboard:
        from propylon.cli._demo_dashboard import run_dashboard_demo

        raise typer.Exit(serve(lambda _: run_dashboard_demo(seconds, rate, seed), stopped=0))
    if shards:
        from propylon.cli._demo_shards import run_shards_demo

        raise typer.Exit(serve(lambda _: run_shards_demo(16.0 if seconds is None else seconds, rate, seed)))
    from propylon.cli._demo import run_demo

    raise typer.Exit(serve(lambda _: run_demo(10.0 if seconds is None else seconds, rate, seed)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE[:NAME]",
            help="Where your Gateway or ShardManager is, such as bot:gateway; NAME is gateway, or manager.",
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start it anew when a Python file in this folder changes.")
    ] = False,
    drain: Annotated[float, typer.Option(min=0.0, help="Seconds that running listeners have at the end.")] = 10.0,
    admin: _Admin = None,
    admin_remote: _AdminRemote = False,
) -> None:
    """Run a gateway or shard manager of yours: the object NAME of a module, looked for in this folder first.

    As its run() does: SIGINT and SIGTERM close it, and its lifespan is around it.
    """
    from propylon.cli._run import reloading, run_target

    if target is None and (reload or drain != 10.0):
        raise typer.BadParameter("name your gateway: MODULE:NAME, such as bot:gateway")
    if target is None or target.startswith("-"):
        complain("to print events, use `propylon events`; `propylon run bot:gateway` runs a gateway of yours")
        ours = ["--admin", admin] if admin is not None else []
        ours += ["--admin-remote"] if admin_remote else []
        app(["events", *filter(None, [target]), *context.args, *ours], prog_name="propylon")
        raise typer.Exit
    if context.args:
        raise typer.BadParameter(f"what is {' '.join(context.args)}? One MODULE:NAME is run")
    if reload:
        raise typer.Exit(reloading(target, drain, admin=admin, admin_remote=admin_remote))
    raise typer.Exit(run_target(target, drain, admin=admin, admin_remote=admin_remote))


@app.command()
def gateway(
    nats: cluster.NatsOption,
    name_of_app: cluster.AppOption,
    shards: Annotated[
        str, typer.Option(metavar="auto|NUMBER", help="Of the whole cluster; auto: as many as Discord recommends.")
    ] = "auto",
    capacity: Annotated[int, typer.Option(min=1, help="The most shards that this host takes.")] = 64,
    name: Annotated[str | None, typer.Option(help="Of this host, in status and for drain; else it gets one.")] = None,
    intents: _Intents = "non-privileged",
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1, max=5, help="NATS servers that each keep everything: 3 where there are three; else as it is."
        ),
    ] = None,
    max_age: Annotated[
        float | None,
        typer.Option(
            min=1.0, help="Seconds for which NATS keeps events for workers that are late; else as it is, 300 at first."
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Bytes of them that it keeps, the oldest go first; else as it is, 1073741824 (1 GiB) at first."
        ),
    ] = None,
    creds: cluster.CredsOption = None,
    compression: _Compression = "zstd-stream",
    gateway_url: _GatewayUrl = None,
    api_url: _ApiUrl = arguments.DISCORD_API,
    ca_file: _CaFile = None,
    proxy: _Proxy = None,
    drain: Annotated[
        float, typer.Option(min=0.0, help="Seconds in which its shards are handed over at the end.")
    ] = 30.0,
    admin: _Admin = None,
    admin_remote: _AdminRemote = False,
    verbose: _Verbose = False,
) -> None:
    """Run a gateway host of a cluster: shards of a bot whose events go to workers over NATS.

    As many as you like, on as many machines; each takes its share of the shards. SIGINT and SIGTERM hand them over to
    the others. The token is read from the environment variable DISCORD_TOKEN, and never crosses NATS.
    """
    from propylon.cluster import GatewayHost

    if verbose:
        _log_to_stderr(verbose)
    asked = arguments.intents_of(intents)
    method = arguments.compression_of(compression)
    wanted = cluster.host_shards(shards)
    token = arguments.token_for(gateway_url or api_url)
    raise typer.Exit(
        cluster.run_gateway(
            lambda: GatewayHost(
                token,
                cluster.nats_of(nats, creds),
                app=name_of_app,
                shards="auto" if wanted is None else wanted,
                capacity=capacity,
                name=name,
                intents=asked,
                replicas=replicas,
                max_age=max_age,
                max_bytes=max_bytes,
                compression=method,
                gateway_url=gateway_url,
                api_url=api_url,
                ca_file=ca_file,
                proxy=proxy,
                admin=admin,
                admin_remote=admin_remote,
            ),
            drain,
        )
    )


def _log_to_stderr(verbose: bool) -> None:
    # stdout is for events.
    logging.basicConfig(format="propylon: %(message)s", level=logging.WARNING)
    if verbose:
        logging.getLogger("propylon").setLevel(logging.DEBUG)


def _complain_of_intents(names: list[str], asked: Intents) -> None:
    table = event_intents()
    for name in names:
        needed = Intents(table[name])
        if needed and not needed & asked:
            complain(f"{name} needs an intent that is not asked for: {needed!r}")


def _made(
    token: str,
    intents: Intents,
    compression: Compression,
    pair: tuple[int, int] | None,
    fleet: "tuple[Shards, int | None] | None",
    gateway_url: str | None,
    api_url: str,
    ca_file: str | None,
    proxy: str | None,
    admin: str | None = None,
    admin_remote: bool = False,
) -> Gateway | ShardManager:
    """A gateway, or with a ``fleet`` a shard manager; what cannot work ends the command."""
    if pair is not None and fleet is not None:
        raise typer.BadParameter("--shard is for one shard and --shards for several: give one of them")
    if fleet == ("auto", None) and gateway_url is not None and api_url == arguments.DISCORD_API:
        raise typer.BadParameter(
            "--shards auto asks the REST API how many: with --gateway-url give a number, or that server's --api-url"
        )
    try:
        if fleet is None:
            return Gateway(
                token,
                intents=intents,
                compression=compression,
                shard=pair,
                gateway_url=gateway_url,
                api_url=api_url,
                ca_file=ca_file,
                proxy=proxy,
                admin=admin,
                admin_remote=admin_remote,
            )
        which, total = fleet
        return ShardManager(
            token,
            intents=intents,
            compression=compression,
            shards=which,
            total=total,
            gateway_url=gateway_url,
            api_url=api_url,
            ca_file=ca_file,
            proxy=proxy,
            admin=admin,
            admin_remote=admin_remote,
        )
    except (ValueError, OSError) as error:
        complain(str(error))
        raise typer.Exit(1) from None


@app.command()
def events(
    intents: _Intents = "non-privileged",
    event: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this event, such as MESSAGE_CREATE; repeatable.")
    ] = None,
    compression: _Compression = "zstd-stream",
    shard: _Shard = None,
    shards: _ShardsOption = None,
    gateway_url: _GatewayUrl = None,
    api_url: _ApiUrl = arguments.DISCORD_API,
    ca_file: _CaFile = None,
    proxy: _Proxy = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    seconds: _Seconds = None,
    admin: _Admin = None,
    admin_remote: _AdminRemote = False,
    verbose: _Verbose = False,
) -> None:
    """Print events as JSON lines: {"type", "shard_id", "sequence", "received_at", "data"}.

    The token is read from the environment variable DISCORD_TOKEN; a gateway on this machine needs none.
    Lines of one shard are in order; of several, "shard_id" tells them apart.
    "received_at" is in seconds of the system's monotonic clock; "data" is exactly what the gateway sent.
    """
    from propylon.cli._events import print_events

    _log_to_stderr(verbose)
    asked = arguments.intents_of(intents)
    kinds = arguments.event_classes(event or [])
    method = arguments.compression_of(compression)
    pair = arguments.shard_of(shard)
    fleet = arguments.shards_of(shards)
    token = arguments.token_for(gateway_url or api_url)
    gateway = _made(token, asked, method, pair, fleet, gateway_url, api_url, ca_file, proxy, admin, admin_remote)
    # What the warning says to a programmer is said to a user here.
    warnings.simplefilter("ignore", IntentsWarning)
    _complain_of_intents([kind.__event_name__ for kind in kinds], asked)
    raise typer.Exit(serve(lambda signals: print_events(gateway, kinds, signals, count=count, seconds=seconds)))


def _condition(texts: list[str] | None) -> Filter | None:
    from propylon.cli._record import condition_of

    try:
        return condition_of(texts or [])
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as day.jsonl.zst; appended to where it is there.")],
    intents: _Intents = "non-privileged",
    events: _EventNames = None,
    where: _Where = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Set the file aside when it would be larger, and begin a new one.")
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Write tokens and session ids of events too; otherwise they are left out.")
    ] = False,
    compression: _Compression = "zstd-stream",
    shard: _Shard = None,
    shards: _ShardsOption = None,
    gateway_url: _GatewayUrl = None,
    api_url: _ApiUrl = arguments.DISCORD_API,
    ca_file: _CaFile = None,
    proxy: _Proxy = None,
    seconds: _Seconds = None,
    verbose: _Verbose = False,
) -> None:
    """Record events into a file of zstd-compressed JSON lines: {"t", "s", "shard", "at", "d"}.

    The token is read from the environment variable DISCORD_TOKEN; a gateway on this machine needs none.
    Exits with 1 where events came that are not in the file.
    """
    from propylon.cli._record import record_events

    _log_to_stderr(verbose)
    asked = arguments.intents_of(intents)
    names = arguments.event_names(events or [])
    _complain_of_intents(names, asked)
    method = arguments.compression_of(compression)
    pair, fleet = arguments.shard_of(shard), arguments.shards_of(shards)
    token = arguments.token_for(gateway_url or api_url)
    gateway = _made(token, asked, method, pair, fleet, gateway_url, api_url, ca_file, proxy)
    condition = _condition(where)
    raise typer.Exit(
        serve(
            lambda _: record_events(
                gateway,
                file,
                events=names,
                where=condition,
                secrets=secrets,
                max_bytes=max_bytes,
                seconds=seconds,
            ),
            stopped=0,
        )
    )


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, such as day.jsonl.zst.")],
    speed: Annotated[
        str, typer.Option(metavar="FACTOR|max", help="1: as long as it took; 10: in a tenth of that; max.")
    ] = "1",
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE[:NAME]", help="Hand it to the listeners of this gateway or manager, without a server."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1; 0 takes a free one.")] = 0,
    drain: Annotated[float, typer.Option(min=0.0, help="Seconds that running listeners have at the end.")] = 10.0,
) -> None:
    """Play a recording: to each client of a simulated Discord on this machine, or with --listen to a bot of yours.

    Needs no token and no network. With --listen it exits with 1 where a listener failed.
    """
    from propylon.cli._record import replay_to_bot, replay_to_clients, speed_of

    try:
        factor = speed_of(speed)
    except ValueError:
        raise typer.BadParameter(f"{speed!r} is no speed: write 1, 10 or max") from None
    if listen is not None:
        raise typer.Exit(serve(lambda _: replay_to_bot(file, factor, listen, drain)))
    raise typer.Exit(serve(lambda _: replay_to_clients(file, factor, port), stopped=0))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, such as day.jsonl.zst.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="It is there when it is whole, and not before.")],
    events: _EventNames = None,
    where: _Where = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there already.")] = False,
) -> None:
    """Make a Parquet file of a recording, a row for each event: docs/recording.md. Needs the extra arrow.

    Exits with 1, and writes nothing, where the recording is damaged.
    """
    from propylon.cli._convert import convert as write

    if out.suffix != ".parquet":
        raise typer.BadParameter(f"{out} is to be a Parquet file: give it a name that ends in .parquet")
    names, condition = arguments.event_names(events or []), _condition(where)
    raise typer.Exit(serve(lambda signals: write(file, out, signals, events=names, where=condition, force=force)))


@app.command()
def doctor(
    intents: _Intents = "non-privileged",
    api_url: _ApiUrl = arguments.DISCORD_API,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM certificates to trust besides the system's.")
    ] = None,
) -> None:
    """Look for what keeps a bot offline: token, intents, clock, names, IPv6, proxy, TLS, latency; and say what to do.

    Asks the REST API and connects to the Gateway's host; starts no session. Exits with 1 where something is wrong.
    """
    from propylon.cli._doctor import examine

    raise typer.Exit(examine(arguments.intents_of(intents), api_url, ca_file))


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
    guilds: Annotated[int, typer.Option(min=0, help="Guilds of the bot, over all shards.")] = 10,
    shards: Annotated[int, typer.Option(min=1, help="How many /gateway/bot recommends; any number is served.")] = 1,
    max_concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="IDENTIFYs at once, each bucket's 5 s apart; otherwise as many as come."),
    ] = None,
    guilds_per_shard: Annotated[
        int, typer.Option(min=0, help="A shard of more guilds is closed with 4011; 0 for no limit.")
    ] = 2500,
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
        shards=shards,
        max_concurrency=max_concurrency or 1,
        identify_interval=0.0 if max_concurrency is None else 5.0,
        guilds_per_shard=guilds_per_shard,
        # Clients keep some in reserve: a whole fleet has to fit in twice.
        session_start_total=max(1000, 2 * shards),
        session_start_remaining=max(1000, 2 * shards),
        respect_intents=True,
    )
    raise typer.Exit(serve(lambda _: serve_clients(simulator, compression), stopped=0))


@app.command()
def top(
    url: Annotated[str, typer.Argument(metavar="URL", help="The bot's admin server, such as http://127.0.0.1:9464.")],
    once: Annotated[bool, typer.Option("--once", help="Print it as plain text and exit; takes a second.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: the snapshot as the server gives it.")] = False,
) -> None:
    """Watch a bot through its admin server: shards, events, latency, listeners, reconnects.

    Arrows choose a shard or scroll, Tab goes on to the next table, s sorts it by its next column, p pauses, q quits.
    With --once, exits with 1 where the server does not answer.
    """
    from propylon.cli import _top
    from propylon.cli._top_snapshot import base_of

    if as_json and not once:
        raise typer.BadParameter("--json goes with --once")
    try:
        base = base_of(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    raise typer.Exit(serve(lambda signals: _top.once(base, as_json=as_json) if once else _top.watch(base, signals)))
