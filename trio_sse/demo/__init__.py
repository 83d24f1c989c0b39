"""A live page that shows what the library does: ``python -m trio_sse.demo``.

It is an example as well: it uses what is public of the package, hypercorn and trio.
"""
