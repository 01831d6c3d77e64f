"""``propylon gateway`` and ``propylon cluster``: a gateway host as a process, and what operators do with a cluster.

Owns options, questions to the user and what is printed. What is done is `propylon.cluster`'s, which is imported where a
command needs it.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from propylon.cli._process import complain, serve
from propylon.cli._run import log_by_default
from propylon.errors import PropylonError

if TYPE_CHECKING:
    from propylon.cluster import GatewayHost, Nats
    from propylon.cluster._nats import NatsBroker

__all__ = ["AppOption", "CredsOption", "NatsOption", "cluster_app", "host_shards", "nats_of", "run_gateway"]

cluster_app: Final = typer.Typer(no_args_is_help=True, help="Look at a cluster, and change it.")
_dead_app: Final = typer.Typer(no_args_is_help=True, help="Events that no worker could handle.")
cluster_app.add_typer(_dead_app, name="dead")

NatsOption = Annotated[
    str,
    typer.Option(
        "--nats",
        metavar="URLS",
        envvar="PROPYLON_NATS_URL",
        show_envvar=True,
        help="NATS servers, 2.11 or newer, with commas between.",
    ),
]
AppOption = Annotated[
    str,
    typer.Option(
        "--app", metavar="NAME", envvar="PROPYLON_APP", show_envvar=True, help="Of the cluster: the same everywhere."
    ),
]
CredsOption = Annotated[
    str | None,
    typer.Option(
        "--creds",
        metavar="FILE",
        envvar="PROPYLON_NATS_CREDS",
        show_envvar=True,
        help="A credentials file of NATS. Other ways in are PROPYLON_NATS_USER and _PASSWORD, _TOKEN, _NKEY; "
        "for TLS _CA_FILE, _CERT_FILE, _KEY_FILE.",
    ),
]


def nats_of(urls: str, creds: str | None) -> "Nats":
    """Where NATS is, and who we are to it. Raises ValueError or OSError where that cannot work."""
    from propylon.cluster import Nats

    def given(name: str) -> str | None:
        # Not as arguments: those are seen by every user of the machine and kept in histories.
        return os.environ.get(f"PROPYLON_NATS_{name}") or None

    return Nats(
        [url.strip() for url in urls.split(",") if url.strip()],
        creds=creds,
        user=given("USER"),
        password=given("PASSWORD"),
        token=given("TOKEN"),
        nkey=given("NKEY"),
        ca_file=given("CA_FILE"),
        cert_file=given("CERT_FILE"),
        key_file=given("KEY_FILE"),
    )


def host_shards(text: str) -> "int | None":
    """``auto`` as None, ``16`` as the number."""
    if text.strip().lower() == "auto":
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise typer.BadParameter(
            f"{text!r} is no number of shards: write auto, or how many the whole cluster has, such as 16"
        )
    return int(text)


def run_gateway(make: "Callable[[], GatewayHost]", drain: float) -> int:
    """Run a host until SIGINT, SIGTERM or a drain; the exit code."""
    try:
        host = make()
    except (ValueError, OSError) as error:
        complain(str(error).replace("admin_remote=True", "--admin-remote"))
        return 1
    log_by_default()
    try:
        host.run(drain=drain)
    except (PropylonError, OSError, ValueError) as error:
        # What cannot be known before, such as that a file with credentials holds none, is a ValueError.
        complain(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        # The second one: as shells have it.
        return 130
    return 0


_UNREACHABLE: Final = 3
"""Exit code where nothing can be said of the cluster; 2 is that of wrong arguments."""


def _operate(
    urls: str,
    creds: str | None,
    app: str,
    do: "Callable[[NatsBroker], Awaitable[int]]",
    *,
    stopped: int | None = None,
    as_json: bool = False,
) -> typer.Exit:
    """Connect, do it, close; what ends the command. ``stopped`` is as for `serve`."""
    from propylon.cli._cluster_status import explained, tell_error
    from propylon.cluster._control import ClusterError
    from propylon.cluster._nats import check_app, connect

    try:
        check_app(app)
        servers = nats_of(urls, creds)
    except (ValueError, OSError) as error:
        if as_json:
            tell_error(str(error), as_json=True)
            return typer.Exit(2)
        raise typer.BadParameter(str(error)) from None

    async def connected() -> int:
        # It is looked at as it is: nothing is made.
        broker = await connect(servers, app, prepare=False)
        try:
            if await broker.stream_status() is None:
                raise ClusterError(f"there is no cluster {app!r} there: `propylon gateway` starts one")
            return await do(broker)
        except (ClusterError, TimeoutError) as error:
            tell_error(await explained(broker, error), as_json=as_json)
            return 1 if isinstance(error, ClusterError) else _UNREACHABLE
        finally:
            await broker.close()

    async def guarded() -> int:
        try:
            return await connected()
        except (PropylonError, OSError, ValueError) as error:
            tell_error(f"{type(error).__name__}: {error}", as_json=as_json)
            return _UNREACHABLE

    return typer.Exit(serve(lambda _: guarded(), stopped=stopped))


@cluster_app.command()
def status(
    nats: NatsOption,
    app: AppOption,
    creds: CredsOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look each second until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document; with --watch one a line.")] = False,
) -> None:
    """Hosts, shards with their epochs, workers, partitions, and how far workers are behind.

    Exits with 0 where each shard and each partition has somebody; with 1 where one has nobody, or there is no worker or
    no cluster; with 3 where NATS cannot be reached or does not answer. With --json an error is {"error": "..."}.
    --watch goes on while NATS is away.
    """
    from propylon.cli._cluster_status import show, watching

    if watch:
        # To have seen enough is no failure.
        raise _operate(
            nats, creds, app, lambda broker: watching(broker, app, as_json=as_json), stopped=0, as_json=as_json
        )
    raise _operate(nats, creds, app, lambda broker: show(broker, app, as_json=as_json), as_json=as_json)


@cluster_app.command()
def drain(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its id, or how it begins, as status shows it.")],
    nats: NatsOption,
    app: AppOption,
    creds: CredsOption = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for its end.")] = 120.0,
    wait: Annotated[bool, typer.Option(help="Wait until it has none left.")] = True,
) -> None:
    """Have a host hand all its shards over to the others, each in one RESUME, and end.

    Exits with 1 where that cannot be, or not in time; with 3 where NATS cannot be reached.
    """
    from propylon.cluster import _control as control

    async def do(broker: "NatsBroker") -> int:
        done = await control.drain(broker, app, host, wait=wait, timeout=timeout)
        if wait:
            print(f"host {done.host} has handed over its {done.shards} shards, in {done.seconds:.1f} s")
        else:
            print(f"host {done.host} hands over its {done.shards} shards")
        return 0

    raise _operate(nats, creds, app, do)


@cluster_app.command()
def reshard(
    total: Annotated[int, typer.Argument(metavar="TOTAL", min=1, help="How many shards there are to be.")],
    nats: NatsOption,
    app: AppOption,
    creds: CredsOption = None,
    window: Annotated[
        float, typer.Option(min=0.0, help="Seconds for which the old ones go on beside the new ones.")
    ] = 2.0,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Give up after so many seconds; else as long as it takes.")
    ] = None,
) -> None:
    """Have another number of shards take over, under traffic.

    Ctrl-C before the new ones are READY gives it up: the old ones stay. Where that command is gone, another one does so
    whose TOTAL is the number that there is.

    Exits with 1 where that cannot be, or not in time; with 3 where NATS cannot be reached.
    """
    from propylon.cluster import _control as control

    async def do(broker: "NatsBroker") -> int:
        print(f"{total} shards are to count", flush=True)
        done = await control.reshard(broker, app, total, window=window, timeout=timeout)
        if isinstance(done, control.GivenUp):
            print(f"the resharding to {done.coming} is given up: the {done.total} shards stay")
        else:
            print(f"{done.total} shards have taken over from {done.before}, in {done.seconds:.1f} s")
        return 0

    raise _operate(nats, creds, app, do)


@cluster_app.command()
def purge(
    nats: NatsOption,
    app: AppOption,
    creds: CredsOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while hosts or workers live.")] = False,
) -> None:
    """Remove all that NATS keeps of a cluster: events that wait, dead letters, sessions; each shard IDENTIFYs anew.

    Exits with 1 where hosts or workers live; with 3 where NATS cannot be reached.
    """
    from propylon.cluster import _control as control

    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("purge asks, and there is no terminal to ask on: --yes says that you mean it")
        typer.confirm(f"Remove all events, dead letters, sessions and keys of {app!r}?", abort=True)

    async def do(broker: "NatsBroker") -> int:
        done = await control.purge(broker, app, force=force)
        print(f"removed: the events of {app} and {done.keys} keys")
        return 0

    raise _operate(nats, creds, app, do)


@_dead_app.command("list")
def list_dead(
    nats: NatsOption,
    app: AppOption,
    creds: CredsOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The oldest so many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all headers.")] = False,
) -> None:
    """Show the messages that workers have given up, oldest first, and why.

    Exits with 3 where NATS cannot be reached. With --json an error is {"error": "..."}.
    """
    from propylon.cli._cluster_status import show_dead

    raise _operate(nats, creds, app, lambda broker: show_dead(broker, limit, as_json=as_json), as_json=as_json)


@_dead_app.command("replay")
def replay_dead(
    nats: NatsOption,
    app: AppOption,
    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help="As list shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    creds: CredsOption = None,
) -> None:
    """Send such messages to the workers again: they come after what is on its way, out of order.

    Exits with 1 where one is not there or cannot be sent; with 3 where NATS cannot be reached.
    """
    if every == bool(numbers):
        raise typer.BadParameter("say which: their numbers, or --all")

    async def do(broker: "NatsBroker") -> int:
        wanted = numbers or [letter.sequence for letter in await broker.dead(1_000_000)]
        sent, faults = 0, list[str]()
        try:
            for number in wanted:
                try:
                    if await broker.replay_dead(number):
                        sent += 1
                    elif numbers:
                        faults.append(f"there is no dead letter {number}")
                except ConnectionError as error:
                    # This one cannot be sent; others may be.
                    faults.append(str(error))
        finally:
            # Also where NATS has gone away meanwhile.
            print(f"sent again: {sent}")
        for fault in faults:
            complain(fault)
        return 1 if faults else 0

    raise _operate(nats, creds, app, do)
