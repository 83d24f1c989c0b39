"""Real servers in subprocesses, met over raw sockets."""
