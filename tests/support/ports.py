"""Ports of the loopback interface that tests let programs listen on."""

import socket

_RESERVED: list[socket.socket] = []


def reserve_port() -> int:
    """Return a port on which whoever asks for it by number can listen, and which nobody gets by chance.

    It stays reserved until this process ends: between two runs of a server too.
    """
    reserved = socket.socket()
    # Linux lets a second socket with this option listen while the first does not; every server here sets it
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _RESERVED.append(reserved)
    return int(reserved.getsockname()[1])
