"""The client, against scripted servers: in virtual time, and on sockets."""
