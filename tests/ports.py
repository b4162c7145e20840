"""Ports for servers in processes of their own."""

import random
import socket


def free_port() -> int:
    """A port of this machine that nothing listens at.

    Not one that the system gives for port 0: until the server has started, which takes seconds,
    the system may give the same one to another test that runs at the same time.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # Below those the system gives.
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
