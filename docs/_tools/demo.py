"""Records a run of ``propylon demo`` as an animated SVG, for the first page of the documents: `make demo-svg`.

A frame for each second, and for each thing that happens; the picture asks for nothing outside of itself. Whoever
prefers reduced motion sees the last frame.
"""

import argparse
import asyncio
import contextlib
import io
import re
from collections.abc import Generator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from propylon.cli import _demo, _demo_view

COLUMNS = 84
HOLD = 6.0
"""Seconds that the last frame stays."""
FRAME = '<g class="{unique_id}">{backgrounds}{matrix}</g>|{styles}|{char_height}|{line_height}|{width}'
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">
<title>propylon demo: the connection is cut, the session resumed, and nothing lost</title>
<style>
text {{ font: 20px/1 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre }}
g[class^=f] {{ visibility: hidden }}
{styles}
@media (prefers-reduced-motion: reduce) {{ g[class^=f] {{ animation: none }} g.f{last} {{ visibility: visible }} }}
</style>
<rect width="100%" height="100%" rx="10" fill="#16181d"/>
<g transform="translate(16, 14)">
{frames}
</g>
</svg>
"""


class Recorder:
    """A `propylon.cli._demo_view.View` that keeps what the screen would show, and when."""

    def __init__(self, rate: float) -> None:
        """No frame yet; ``rate`` is for the title."""
        self._screen = _demo_view._Screen(Console(file=io.StringIO()), Live(), rate)
        self._rates = self._screen._rates
        self._lines: list[Text] = [Text.assemble(("$ ", "dim"), "propylon demo")]
        self._table: RenderableType = Text()
        self._elapsed = 0.0
        self.frames: list[tuple[float, RenderableType]] = []

    def _shoot(self) -> None:
        self.frames.append((self._elapsed, Group(*self._lines, Text(), self._table)))

    def tell(self, text: str) -> None:
        """Something has happened."""
        # Of the dashboard, which is gone when somebody reads this.
        if "://" not in text:
            self._lines.append(Text.assemble((f"{self._elapsed:5.1f} s  ", "dim"), text))
            self._shoot()

    def update(self, figures: _demo_view.Figures, *, last: bool = False) -> None:
        """New figures, a frame for each second."""
        self._elapsed = figures.elapsed
        self._table = self._screen._render(figures, self._rates.before(figures))
        if last or not self.frames or self._elapsed - self.frames[-1][0] >= 1:
            self._shoot()

    def conclude(self, verdict: _demo_view.Verdict) -> None:
        """The last frame."""
        style = "bold green" if verdict.passed else "bold red"
        end = [Text(line, style=style) for line in verdict.lines()]
        self.frames.append((self._elapsed, Group(*self._lines, Text(), self._table, Text(), *end)))


def picture(frames: list[tuple[float, RenderableType]]) -> str:
    """All frames in one SVG, each shown in its time."""
    total = frames[-1][0] + HOLD
    starts = [at for at, _ in frames]
    drawn: list[str] = []
    styles: list[str] = []
    width = height = 0.0
    for number, ((start, content), end) in enumerate(zip(frames, [*starts[1:], total], strict=True)):
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        console.print(content)
        rows = len(console.export_text(clear=False).splitlines())
        name = f"f{number}"
        svg = console.export_svg(code_format=FRAME, unique_id=name)
        group, rules, _, line, wide = svg.rsplit("|", 4)
        drawn.append(re.sub(r' clip-path="[^"]*"', "", group))
        styles.append(rules)
        begin, stop = start / total * 100, end / total * 100
        before = "0% { visibility: hidden } " if begin else ""
        styles.append(
            f"@keyframes k{number} {{ {before}{begin:.2f}% {{ visibility: visible }} "
            f"{stop:.2f}% {{ visibility: {'visible' if end == total else 'hidden'} }} }} "
            f".{name} {{ animation: k{number} {total:.1f}s step-end infinite }}"
        )
        width, height = max(width, float(wide)), max(height, rows * float(line))
    return PICTURE.format(
        width=width + 16, height=height + 32, styles="\n".join(styles), frames="\n".join(drawn), last=len(frames) - 1
    )


def main(out: Path, seconds: float, rate: float) -> None:
    """Run the demo, and write the picture."""
    made: list[Recorder] = []

    @contextlib.contextmanager
    def view(rate: float) -> Generator[Recorder]:
        made.append(Recorder(rate))
        yield made[0]

    _demo.view = view
    if status := asyncio.run(_demo.run_demo(seconds, rate, 1)):
        raise SystemExit(status)
    out.write_text(picture(made[0].frames), "utf-8")
    print(f"{out.name}: {len(made[0].frames)} frames, {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=2_000.0)
    options = parser.parse_args()
    main(options.out, options.seconds, options.rate)
