"""Serve the live page: ``python -m trio_sse.demo [--bind HOST:PORT]``."""

import sys
from importlib.util import find_spec

if find_spec("hypercorn") is None:
    sys.exit("hypercorn is not installed: pip install 'trio-sse[hypercorn]'")

from ._command import main

sys.exit(main())
