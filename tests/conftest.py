"""What all tests share: a real server, and pytest within pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Provider, Server
from valkey_doctest.servers.choose import choose

# A loaded machine is no defect of ours: nothing here is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def reaper() -> Iterator[Reaper]:
    each = Reaper()
    yield each
    each.close()


@pytest.fixture(scope="session")
def provider(reaper: Reaper) -> Provider:
    """The newest embedded server."""
    return choose("embedded", [], "valkey/valkey", reaper)[0]


@pytest.fixture(scope="session")
def valkey_server(provider: Provider) -> Iterator[Server]:
    """A running server; its ``port`` is on the loopback interface."""
    server = provider.start("tests")
    yield server
    server.remove()
