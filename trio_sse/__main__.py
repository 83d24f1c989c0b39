"""Print the events of a URL as they come: ``python -m trio_sse URL``."""

import sys

from ._command import main

sys.exit(main())
