"""One ASGI app for each library, all with the same paths.

* ``/burst/<variant>?n=`` and ``/paced/<variant>?n=``: so many events, from one task.
* ``/fanout/<variant>``: what is published.
* ``/idle?ping=``: one event, and pings.
* ``/stats`` and ``/publish`` are not the libraries': `_control`.
"""
