"""The tests of sse-starlette that are not asked of `trio_sse.compat`, with the reasons.

A name is that of a file, of a test in it, or of one case of a test; ``*`` stands for anything.
"""

INTERNALS = "tests private functions, which something else does here"
EXAMPLE = "tests an example that the distribution does not have"
BOTH_AT_ONCE = "wants a ping to be sent in the middle of another send"
AT_ONCE = (
    "puts a private method in the place of the one that waits for a shutdown, and wants a "
    "send that blocks to be cut at once; here the client has a second for it"
)
LAST_FRAME = (
    "wants the final frame to be given up at once when the client leaves; servers say that it has "
    "left from inside of that very send, so it has a second for it"
)
NO_EXTENSION = "wants messages of an ASGI extension that its scope does not offer"
UVICORN = "runs uvicorn, which has no trio"

EXCLUDED = {
    "test_issue132.py": INTERNALS,
    "test_issue152.py": INTERNALS,
    "test_multi_loop.py": INTERNALS,
    "test_broadcasting_example.py": EXAMPLE,
    "test_sse.py::*::test_ping_whenTimerTicks_thenSendsOneMessagePerTick": INTERNALS,
    "test_sse.py::*::test_ping_whenSendTimesOut_thenRaisesSendTimeoutError": INTERNALS,
    "test_sse.py::*::test_ping_whenConcurrentWithEvents_thenRespectsLocking": BOTH_AT_ONCE,
    "test_sse.py::*::test_send_whenInterrupted_thenClosesSuspendedGenerator[*shutdown*]": AT_ONCE,
    "test_issue217.py::*CleanupStuck_thenDeadlineCancelsCleanup[*shutdown*]": AT_ONCE,
    "test_issue217.py::test_closingFrame_whenSendStalls_thenInterruptionEndsResponse": LAST_FRAME,
    "test_streaming_parity.py::*_whenWebsocketScope_thenSendIsWrappedForDenial": NO_EXTENSION,
}

EXCLUDED_ON = {"asyncio": {}, "trio": {"test_issue211.py": UVICORN}}
