"""Two hosts with a router between them, in network namespaces of their own.

Made without a trace: the namespaces have no names outside, nothing of the machine's own
network is touched, and when the last process in them has ended they are gone.
"""

import os
import subprocess
import sys
from typing import Self

from servers.process import TESTS, Process

SERVER = "10.0.1.2"

# Names of namespaces are files in /run/netns, so this has a /run of its own.
HOSTS = """
mount -t tmpfs tmpfs /run
connect() {
    ip netns add $1
    ip link add $1 type veth peer name eth0 netns $1
    ip address add 10.0.$2.1/24 dev $1
    ip link set $1 up
    ip -n $1 link set lo up
    ip -n $1 address add 10.0.$2.2/24 dev eth0
    ip -n $1 link set eth0 up
    ip -n $1 route add default via 10.0.$2.1
}
connect server 1
connect client 2
"""

# The router is told by a 1 or a 0 whether to forward, and says so once it does.
ROUTER = """
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
while read forwarding; do
    echo $forwarding > /proc/sys/net/ipv4/ip_forward
    echo done
done
"""

# Where there is no root, a namespace of users makes one.
USER = [] if os.geteuid() == 0 else ["--user"]
UNSHARE = ["unshare", *USER, *(["--map-root-user"] if USER else []), "--net", "--mount"]
ENTER = ["nsenter", *USER, "--preserve-credentials", "--net", "--mount", "--target"]

# How /proc/net/tcp says that a connection is established.
ESTABLISHED = "01"

EXEC = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


class NotPermittedError(Exception):
    """There are no network namespaces here, or not for this user."""


class Network:
    """The hosts ``server`` and ``client``, and a router that can lose what it is sent.

    What it loses it loses silently: each host's own link stays up, and no ICMP message
    and no RST tells that the other one cannot be reached any more.

    Raises:
        NotPermittedError: if it cannot be set up; says why.
    """

    def __enter__(self) -> Self:
        try:
            self._router = subprocess.Popen(
                [*UNSHARE, "sh", "-ec", HOSTS + ROUTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError as error:
            raise NotPermittedError(str(error)) from error
        if self._router.stdout.readline() != "ready\n":
            raise NotPermittedError(self._end())
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()

    def forward(self, whether: bool) -> None:
        """Let packets through, or lose them all, from the return of this on."""
        self._router.stdin.write(f"{whether:d}\n")
        self._router.stdin.flush()
        assert self._router.stdout.readline() == "done\n"

    def run(self, host: str, *command: str) -> Process:
        """Run ``python`` with this command on a host."""
        enter = self._enter(host)
        return Process(
            *("-c", EXEC, *enter, sys.executable, *command),
            environment={"PYTHONPATH": str(TESTS)},
        )

    def connections(self, host: str) -> list[str]:
        """Return the lines of /proc/net/tcp that are about established connections."""
        command = [*self._enter(host), "cat", "/proc/net/tcp"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line for line in output.splitlines() if line.split()[3] == ESTABLISHED]

    def _enter(self, host: str) -> list[str]:
        return [*ENTER, str(self._router.pid), "ip", "netns", "exec", host]

    def _end(self) -> str:
        """End the router, which ends when it is told no more, and return its last words."""
        _, errors = self._router.communicate()
        return errors.strip()
