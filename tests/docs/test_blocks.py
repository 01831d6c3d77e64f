"""The examples of our documents work as they stand there."""

import subprocess
import sys
from pathlib import Path

import pytest
from blocks import REPOSITORY, Block, blocks

BLOCKS = list(blocks())
CONFIG = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
"""The file beside the example of `from_config`."""
STAGE = Path(__file__).with_name("stage.py")


def run(block: Block, folder: Path) -> str:
    """What the block prints; asserts that it ends well and says nothing on stderr."""
    file = folder / f"{block.name}.py"
    file.write_text(block.code, "utf-8")
    # A file that the documents name is looked for when the gateway is made.
    (folder / "corporate-ca.pem").touch()
    (folder / "bot.toml").write_text(CONFIG, "utf-8")
    quiet = ["-W", "ignore:propylon._core is a debug build:RuntimeWarning"]
    if "def test_" in block.code:
        command = [sys.executable, *quiet, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    else:
        command = [sys.executable, *quiet, str(STAGE), str(file)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    # A busy machine's.
    said = "".join(line for line in done.stderr.splitlines(keepends=True) if "held the event loop for" not in line)
    assert (done.returncode, said) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_runs(block: Block, tmp_path: Path) -> None:
    """As a script, or under pytest where it is a test."""
    run(block, tmp_path)


def test_the_guide_answers_a_message(tmp_path: Path) -> None:
    """The bot of the aiohttp example posts its answer to the channel of the question."""
    (block,) = [block for block in BLOCKS if block.name.startswith("guide_") and "from aiohttp" in block.code]
    assert 'POST https://discord.com/api/v10/channels/2/messages {"content": "pong"}' in run(block, tmp_path)


def test_readme_prints_messages(tmp_path: Path) -> None:
    """The ten-line bot prints author and content."""
    block = next(block for block in BLOCKS if block.name.startswith("README"))
    assert "gateway.run()" in block.code
    assert "reader !ping" in run(block, tmp_path)
