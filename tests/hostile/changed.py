"""hypercorn as a version might be that trio_sse does not know: without the context of a stream.

python -m hostile.changed <arguments of hypercorn>
"""

import logging
import sys

import hypercorn.protocol.h2
import hypercorn.protocol.h11
from hypercorn.__main__ import main
from hypercorn.protocol.http_stream import HTTPStream


class Changed(HTTPStream):
    """Serves as ever; what the base class sets here is not there."""

    @property
    def context(self) -> object:
        raise AttributeError("context")

    @context.setter
    def context(self, value: object) -> None:
        pass


# Workers are spawned: they import this module anew, and are changed by it too.
hypercorn.protocol.h11.HTTPStream = Changed
hypercorn.protocol.h2.HTTPStream = Changed
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
