"""``propylon run``: a gateway or a shard manager of the user's, found by its name."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeGuard

from propylon import Gateway, ShardManager
from propylon._gateway import serving
from propylon._names import nearest
from propylon._signals import Stoppable
from propylon.cli._notify import Notifier
from propylon.cli._process import complain
from propylon.errors import PropylonError

__all__ = ["Missing", "bot_of", "log_by_default", "reloading", "run_target"]

_LOOK: Final = 500
"""Milliseconds between two looks whether the bot still runs, or is to end."""
_NAMES: Final = ("gateway", "manager")
"""What is looked for where only a module is named; the first that is there."""


class Missing(Exception):
    """What is to be run is not there; the text says what to do."""


def _is_bot(value: object) -> TypeGuard[Gateway | ShardManager]:
    return isinstance(value, Gateway | ShardManager)


def bot_of(target: str) -> Gateway | ShardManager:
    """The bot that ``MODULE:NAME`` names. Raises `Missing`."""
    module_name, _, name = target.partition(":")
    if module_name.endswith(".py") or os.sep in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace(os.sep, ".")
        right = f"{dotted}:{name or _NAMES[0]}"
        raise Missing(f"{module_name} is a file, and it is a module that is named, not a file: {right}")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise Missing(f"{module_name!r} is no module; give it as MODULE:NAME, such as bot:gateway")
    # As `python -m` does.
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # One that the module itself needs is a fault of its own, with a traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        advice = "be in the folder where it is, or install it"
        raise Missing(f"there is no module {module_name!r}; {advice}") from None
    there = vars(module)
    name = name or next((each for each in _NAMES if _is_bot(there.get(each))), _NAMES[0])
    found = there.get(name)
    if _is_bot(found):
        return found
    near = nearest(name, [other for other, value in there.items() if _is_bot(value)], likeness=0.0)
    none = "it has no Gateway or ShardManager at its top level"
    hint = none if near is None else f"did you mean {module_name}:{near}?"
    if found is None:
        raise Missing(f"{module_name} has no {name!r}; {hint}")
    raise Missing(f"{target} is no Gateway or ShardManager but {type(found).__name__}; {hint}")


def log_by_default() -> None:
    """To stderr, where the bot has not said otherwise: after its import, for its own logging is its own."""
    if not logging.getLogger().hasHandlers():
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)


def _run(bot: Gateway | ShardManager, drain: float) -> None:
    """As its own run() does; a supervisor that wants to know is told how far it is."""
    notifier = Notifier.from_environment()
    if notifier is None:
        bot.run(drain=drain)
        return
    life = bot._life  # pyright: ignore[reportPrivateUsage]

    async def served() -> None:
        notifier.started()
        try:
            await serving.serve(life, drain, notifier.step)
        finally:
            notifier.ended()

    serving.run(life, served, "gateway")


def run_target(target: str, drain: float, *, admin: str | None, admin_remote: bool) -> int:
    """Run it; the exit code. ``admin`` is taken instead of what the bot itself says."""
    try:
        bot = bot_of(target)
        if admin is not None:
            try:
                bot._life.admin.ask(admin, admin_remote)  # pyright: ignore[reportPrivateUsage]
            except ValueError as error:
                complain(str(error).replace("admin_remote=True", "--admin-remote"))
                return 1
        # One whose last line is `gateway.run()` has run by now, while it was imported.
        if not bot._life.was_served:  # pyright: ignore[reportPrivateUsage]
            log_by_default()
            _run(bot, drain)
    except (Missing, PropylonError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        if admin is None or not (error.strerror or "").startswith("admin="):
            raise
        complain(error.strerror or "")
        return 1
    except KeyboardInterrupt:
        # The second one: as shells have it.
        return 130
    return 0


def _ended(process: "subprocess.Popen[bytes]", patience: float) -> int:
    """Ends a bot as Ctrl-C does: it closes, and its listeners may finish. Its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        complain(f"it has not ended within {patience:g} s, and is killed")
        process.kill()
        return process.wait()


def reloading(target: str, drain: float, *, admin: str | None, admin_remote: bool) -> int:
    """Run it in a process of its own, anew after each change; the exit code of the last one."""
    if find_spec("watchfiles") is None:
        complain('--reload needs watchfiles: pip install "propylon[cli]"')
        return 1
    from watchfiles import PythonFilter, watch

    command = [sys.executable, "-m", "propylon", "run", target, f"--drain={drain}"]
    command += [f"--admin={admin}"] if admin is not None else []
    command += ["--admin-remote"] if admin_remote else []
    patience = drain + 5

    def start() -> "subprocess.Popen[bytes]":
        # In a session of its own: a Ctrl-C of the terminal would reach it beside ours, and be its second one.
        return subprocess.Popen(command, start_new_session=True)

    stop = threading.Event()
    with Stoppable(stop.set):
        process = start()
        told = False
        try:
            for changes in watch(
                Path.cwd(),
                watch_filter=PythonFilter(),
                stop_event=stop,
                rust_timeout=_LOOK,
                yield_on_timeout=True,
                raise_interrupt=True,
            ):
                if changes:
                    complain(f"changed, starting anew: {target}")
                    _ended(process, patience)
                    process, told = start(), False
                elif process.poll() is not None and not told:
                    complain(f"{target} has ended with exit code {process.returncode}; it starts anew after a change")
                    told = True
        except KeyboardInterrupt:
            # The second signal.
            process.kill()
        return _ended(process, patience)
