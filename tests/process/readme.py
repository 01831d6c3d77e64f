"""A block of a document, as its reader would run it, on a simulator. Run by test_leaving.py, which stops it."""

import os
import runpy
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Gateway  # noqa: E402

url, stand_ins, block = sys.argv[1:]
sys.path.insert(0, stand_ins)
os.environ["DISCORD_TOKEN"] = "token"
defaults = Gateway.__init__.__kwdefaults__
assert defaults is not None
defaults["gateway_url"] = url
print("process", os.getpid(), flush=True)
runpy.run_path(block, run_name="__main__")
