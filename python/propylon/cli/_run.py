"""``propylon run``: a gateway of the user's, found by its name."""

import difflib
import importlib
import logging
import math
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from propylon import Gateway
from propylon.cli._process import complain
from propylon.errors import PropylonError

__all__ = ["reloading", "run_target"]


class _Missing(Exception):
    """What is to be run is not there; the text says what to do."""


def _gateway_of(target: str) -> Gateway:
    module_name, _, name = target.partition(":")
    name = name or "gateway"
    # As `python -m` does.
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # One that the module itself needs is a fault of its own, with a traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        advice = "give it as MODULE:NAME, such as bot:gateway, and be in the folder where it is"
        if module_name.endswith(".py"):
            advice = f"it is a module that is named, not a file: {module_name.removesuffix('.py')}:{name}"
        raise _Missing(f"there is no module {module_name!r}; {advice}") from None
    found = vars(module).get(name)
    if isinstance(found, Gateway):
        return found
    others = [other for other, value in vars(module).items() if isinstance(value, Gateway)]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.0)
    hint = f"did you mean {module_name}:{near[0]}?" if near else "it has no Gateway at its top level"
    if found is None:
        raise _Missing(f"{module_name} has no {name!r}; {hint}")
    raise _Missing(f"{target} is no Gateway but {type(found).__name__}; {hint}")


def run_target(target: str, drain: float) -> int:
    """Run it; the exit code."""
    if not logging.getLogger().hasHandlers():
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        gateway = _gateway_of(target)
        gateway.run(drain=drain)
    except (_Missing, PropylonError) as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        # The second one: as shells have it.
        return 130
    return 0


def reloading(target: str, drain: float) -> int:
    """Run it in a process of its own, anew after each change; the exit code."""
    if find_spec("watchfiles") is None:
        complain('--reload needs watchfiles: pip install "propylon[cli]"')
        return 1
    from watchfiles import PythonFilter, run_process

    command = [sys.executable, "-m", "propylon", "run", target, f"--drain={drain}"]

    def told(changes: object) -> None:
        complain(f"changed, starting anew: {target}")

    # SIGINT, as at a keyboard: the gateway closes, and listeners may finish.
    run_process(
        Path.cwd(),
        target=shlex.join(command),
        target_type="command",
        callback=told,
        watch_filter=PythonFilter(),
        sigint_timeout=math.ceil(drain) + 5,
    )
    return 0
