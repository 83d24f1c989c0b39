"""Open a stream and print what comes: ``python -m hostile.visitor <host> <port> <path>``."""

import sys

from servers.wire import Http1

if __name__ == "__main__":
    host, port, path = sys.argv[1:]
    with Http1((host, int(port))) as client:
        client.request(path)
        while True:
            print(client.read_event(), flush=True)
