"""A process with a sub-interpreter that wants propylon too. Run by test_process.py."""

import argparse
import asyncio
import importlib
import os
import sys
import warnings
from typing import Any

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--first", choices=["main", "sub"], required=True, help="who imports it first")
parser.add_argument("--keep", action="store_true", help="leave the sub-interpreter to the end of the process")
arguments = parser.parse_args()

IMPORT = """
import os
try:
    import propylon
except ImportError as error:
    os.write({pipe}, str(error).encode())
else:
    os.write({pipe}, b"imported")
"""


def said_in_a_sub_interpreter() -> str:
    """What an import there says. It shares the GIL: those with one of their own are refused by CPython itself."""
    receive, send = os.pipe()
    script = IMPORT.format(pipe=send)
    if sys.version_info >= (3, 13):
        interpreters: Any = importlib.import_module("_interpreters")
        number = interpreters.create("legacy")
        interpreters.exec(number, script)
    else:
        interpreters = importlib.import_module("_xxsubinterpreters")
        number = interpreters.create(isolated=False)
        interpreters.run_string(number, script)
    if not arguments.keep:
        interpreters.destroy(number)
    os.close(send)
    with os.fdopen(receive) as pipe:
        return pipe.read()


async def live() -> None:
    from propylon import Gateway

    async with Gateway("token", gateway_url=arguments.url) as gateway:
        assert gateway.metrics().identifies == 1


if arguments.first == "main":
    importlib.import_module("propylon")
print(said_in_a_sub_interpreter())
# The main interpreter is none the worse for it.
asyncio.run(live())
print("lived")
