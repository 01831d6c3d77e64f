"""A simulator in a process of its own: its options as JSON in the first argument, then a call a line.

``["flood_shared", [true], {"rate": 5}]`` gives a line with the result as JSON. It ends with its input.
"""

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from propylon.testing import Simulator


class Server:
    """The process, as whoever tests against it holds it."""

    def __init__(self, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self.pid = self._process.pid
        told = self._answer()
        self.url: str = told["url"]
        self.api_url: str = told["api_url"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        return json.loads(line)

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the simulator."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments, options]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve() -> None:
    with Simulator(**json.loads(sys.argv[1])) as simulator:
        print(json.dumps({"url": simulator.url, "api_url": simulator.api_url}), flush=True)
        for line in sys.stdin:
            name, arguments, options = json.loads(line)
            print(json.dumps(getattr(simulator, name)(*arguments, **options)), flush=True)


if __name__ == "__main__":
    serve()
