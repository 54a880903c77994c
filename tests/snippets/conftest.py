"""What the tests of the snippets share: the programs as modules, and a client of an empty server."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
import valkey

SNIPPETS = Path(__file__).parents[2] / "snippets"


class Server(Protocol):
    """A running server, as the fixture ``valkey_server`` hands it out."""

    port: int


@cache
def load(path: str) -> ModuleType:
    """The program at this path under ``snippets/``, as a module that does not run by itself."""
    name = "snippet_" + path.removesuffix(".py").replace("/", "_").replace("-", "_")
    specification = importlib.util.spec_from_file_location(name, SNIPPETS / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up there
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def snippet() -> Callable[[str], ModuleType]:
    """Load a program by its path under ``snippets/``."""
    return load


@pytest.fixture
def port(valkey_server: Server) -> int:
    """Where the server listens that the tests may use."""
    return valkey_server.port


@pytest.fixture
def client(port: int) -> Iterator[valkey.Valkey]:
    """A client that reads text, of a server without keys."""
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as each:
        each.flushall()
        yield each


@pytest.fixture
def at_port(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lead the clients that a program makes for itself to another port."""
    original = valkey.Valkey

    def lead(port: int) -> None:
        def elsewhere(**options: Any) -> valkey.Valkey:
            return original(**{**options, "port": port})

        monkeypatch.setattr(valkey, "Valkey", elsewhere)

    return lead


@pytest.fixture
def nobody() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def lines(
    port: int, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> Callable[[ModuleType], list[str]]:
    """What a program prints; and see that it says so when there is no server."""

    def run(program: ModuleType) -> list[str]:
        at_port(nobody)
        assert program.main() == 1
        assert "Cannot reach Valkey" in capsys.readouterr().err
        at_port(port)
        assert program.main() == 0
        return capsys.readouterr().out.splitlines()

    return run
