"""What tests of programs and engines can be built on."""

from ._client import StreamClient as StreamClient
from ._engine_suite import EngineSuite as EngineSuite
from ._leaks import LeakError as LeakError
from ._leaks import check_leaks as check_leaks
from ._open import open_stream as open_stream
from ._transport import StreamingASGITransport as StreamingASGITransport
from ._virtual_time import VirtualTimeLoop as VirtualTimeLoop

__all__ = [
    "EngineSuite",
    "LeakError",
    "StreamClient",
    "StreamingASGITransport",
    "VirtualTimeLoop",
    "check_leaks",
    "open_stream",
]

for _name in __all__:
    vars()[_name].__module__ = __name__
