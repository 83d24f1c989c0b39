"""Real servers and clients that behave badly: what is promised must hold on the wire.

`clients` has the clients, `kinds` the servers as their users start them, `app` what they
serve, `drops` what happens to a client that stops reading. All of these tests are marked
``server``, the long ones ``hostile`` too; ``test_smoke.py`` is the short set.

Three environment variables:

* ``HOSTILE_SEND_TIMEOUT``: seconds of the send timeout under test; 5 by default.
* ``HOSTILE_STREAMS``: how many healthy streams a server has to end at once; 200 by default.
* ``SERVER_RESULTS``: a file to write what was measured to, as CSV.
"""
