"""`python3 -m demo NAME ...` runs the program demo/NAME.py."""

import importlib
import signal
import sys

# Until the program has something to clean up, Ctrl-C simply ends it: also among imports, which take half a second.
signal.signal(signal.SIGINT, signal.SIG_DFL)
importlib.import_module(f"demo.{sys.argv.pop(1)}").main()
