"""What the kernel knows of a connection over IPv4, whatever its processes believe."""

from pathlib import Path


def has_connection(server_port: int, client_port: int) -> bool:
    """Tell whether the server's end is still there, in whatever state."""
    local, remote = f":{server_port:04X}", f":{client_port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = (row.split()[1:3] for row in rows)
    return any(mine.endswith(local) and theirs.endswith(remote) for mine, theirs in addresses)
