"""The plots in docs/images are those that ``benches/plots.py`` draws of ``benches/results``."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import REPOSITORY

pytest.importorskip("matplotlib", reason="no matplotlib here: make check installs it (group plots)")

IMAGES = REPOSITORY / "docs" / "images"
_TEXT = re.compile(r"<text[^>]*>([^<]*)</text>")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them, drawn anew."""
    folder = tmp_path_factory.mktemp("plots")
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benches" / "plots.py"), "--into", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return folder


def test_every_plot_says_what_the_results_say(drawn: Path) -> None:
    """Their texts, figures among them; lines differ between versions of matplotlib."""
    names = sorted(file.name for file in drawn.iterdir())
    assert names == sorted(file.name for pattern in ("bench-*.svg", "home-*.svg") for file in IMAGES.glob(pattern))
    for name in names:
        told, kept = ([*_TEXT.findall((folder / name).read_text("utf-8"))] for folder in (drawn, IMAGES))
        assert len(told) > 5
        assert told == kept, f"{name} is not what make plots draws"
