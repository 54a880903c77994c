"""Loaded by every Python that a page starts: documented addresses lead to the page's own servers.

So programs are run exactly as they are shown, ``port=6379`` and all, and never meet a Valkey that
really listens there. ``VALKEY_DOCTEST_PORTS`` holds pairs such as ``6379:40123``. If the servers themselves
use the second of each, ``VALKEY_DOCTEST_ANNOUNCED`` is set.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

_PORTS = {
    int(documented): int(real)
    for documented, _, real in (pair.partition(":") for pair in os.environ.get("VALKEY_DOCTEST_PORTS", "").split())
}
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def _real(address: Any) -> Any:
    if isinstance(address, tuple) and address[0] in _HERE and address[1] in _PORTS:
        return ("127.0.0.1" if address[0] != "::1" else "::1", _PORTS[address[1]], *address[2:])
    return address


class _Socket(socket.socket):
    def connect(self, address: Any, /) -> None:
        super().connect(_real(address))

    def connect_ex(self, address: Any, /) -> int:
        return super().connect_ex(_real(address))


if _PORTS:
    socket.socket = _Socket  # type: ignore[misc]
    if os.environ.get("VALKEY_DOCTEST_ANNOUNCED"):
        with suppress(ImportError):  # there is no client: then none has to be told
            from valkey_documented_ports import install  # type: ignore[import-not-found]

            install(_PORTS, _HERE)
