"""The till, while its primary is killed: what it counts, and what was lost of that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Server, deployments
from valkey_doctest.servers.embedded import EmbeddedProvider, EmbeddedServer, server_binaries
from valkey_doctest.session import SHIM

PROGRAM = Path(__file__).parents[2] / "snippets" / "replication" / "till.py"
PATIENCE = 50.0  # seconds; two elections that find no leader, at most
SENTINELS = tuple(f"valkey-sentinel-{number}" for number in (1, 2, 3))


@contextmanager
def deployed() -> Iterator[Mapping[str, Server]]:
    """A primary, two replicas and three Sentinels that soon believe that a server is down."""
    reaper = Reaper()
    version = max(server_binaries(), key=lambda each: [int(part) for part in each.split(".")])
    network, servers = deployments.start("sentinel", EmbeddedProvider(version, reaper), "test", str)
    for name in SENTINELS:
        with connect(servers[name]) as sentinel:
            sentinel.execute_command("SENTINEL", "SET", "mymaster", "down-after-milliseconds", 500)
    yield servers
    network.remove()
    reaper.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, Server]]:
    """What all tests share, except the one that kills."""
    with deployed() as started:
        yield started


@pytest.fixture
def doomed() -> Iterator[Mapping[str, Server]]:
    """Servers of the test that kills."""
    with deployed() as started:
        yield started


def connect(server: Server) -> Any:
    return valkey.Valkey(host="127.0.0.1", port=server.port, decode_responses=True, socket_timeout=2)


@pytest.fixture(autouse=True)
def no_connection_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test and the program under test have opened, those to the Sentinels, too."""
    pools: list[Any] = []
    original: Any = valkey.ConnectionPool.__init__

    def remember(pool: Any, *arguments: Any, **options: Any) -> None:
        original(pool, *arguments, **options)
        pools.append(pool)

    monkeypatch.setattr(valkey.ConnectionPool, "__init__", remember)
    yield
    for pool in pools:
        pool.disconnect()


def sentinels_of(servers: Mapping[str, Server]) -> list[tuple[str, int]]:
    return [("127.0.0.1", servers[name].port) for name in SENTINELS]


@pytest.fixture
def till(
    servers: Mapping[str, Server], snippet: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The program under test, with these Sentinels."""
    module = snippet("replication/till.py")
    monkeypatch.setattr(module, "SENTINELS", sentinels_of(servers))
    return module


def embedded(server: Server) -> EmbeddedServer:
    assert isinstance(server, EmbeddedServer)
    return server


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(valkey.ConnectionError):  # Sentinels cut the connections to a server whose role they change
            if condition():
                return
        time.sleep(0.01)
    raise AssertionError


def test_what_was_acknowledged_survives_a_killed_primary_as_far_as_is_promised(
    till: ModuleType, doomed: Mapping[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till, "SENTINELS", sentinels_of(doomed))
    quick, careful = till.Till(till.connect(), "quick"), till.Till(till.connect(), "careful", copies=1)
    stop = threading.Event()
    threads = [threading.Thread(target=each.sell, args=(stop,)) for each in (quick, careful)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(len(quick.acknowledged), len(careful.acknowledged)) > 50)
    embedded(doomed["valkey-primary"]).kill()
    sold = len(quick.acknowledged), len(careful.acknowledged)
    wait_until(lambda: len(quick.acknowledged) > sold[0] + 50 and len(careful.acknowledged) > sold[1] + 50)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    for each in (quick, careful):
        assert each.failed_tries > 0  # it did meet the failure
        assert each.acknowledged == list(range(1, len(each.acknowledged) + 1))  # and left nothing out
    # A process died, not the network: what it had sent arrives. One sale could be between its answer and its sending.
    assert len(quick.lost()) <= 1
    assert careful.lost() == []


def port_of(client: Any) -> int | None:
    """Of the primary that the Sentinels name now."""
    try:
        return int(client.connection_pool.get_master_address()[1])
    except valkey.ConnectionError:
        return None


def test_a_sale_without_enough_copies_does_not_count(
    till: ModuleType, servers: Mapping[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(till, "PATIENCE", 0.2)
    three = till.Till(till.connect(), "three", copies=3)  # there are two
    with pytest.raises(TimeoutError):
        three.record(1)
    assert three.acknowledged == []
    assert three.client.hexists("three", "1")  # it is there all the same: WAIT takes nothing back


def test_a_primary_that_refuses_is_asked_again(till: ModuleType, servers: Mapping[str, Server]) -> None:
    primary = connect(servers["valkey-primary"])
    primary.config_set("min-replicas-to-write", 3)
    refused = till.Till(till.connect(), "refused")
    seller = threading.Thread(target=refused.record, args=(1,))
    seller.start()
    wait_until(lambda: refused.failed_tries > 0)
    assert refused.acknowledged == []
    primary.config_set("min-replicas-to-write", 0)
    seller.join(PATIENCE)
    assert refused.acknowledged == [1]
    primary.set("text", "x")
    text = till.Till(till.connect(), "text")
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        text.record(1)  # what no retry can mend is not retried


@pytest.mark.parametrize("is_there", [True, False])
def test_it_says_how_it_went(servers: Mapping[str, Server], nobody: int, tmp_path: Path, *, is_there: bool) -> None:
    pairs = " ".join(f"{each.documented_port}:{each.port if is_there else nobody}" for each in servers.values())
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env={
            **os.environ,
            "PYTHONPATH": str(SHIM),
            "VALKEY_DOCTEST_PORTS": pairs,
            "VALKEY_DOCTEST_ANNOUNCED": "yes",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == (0 if is_there else 1)
    assert done.stdout == ("100 sales recorded, 0 lost\n" if is_there else "")
    assert is_there or "No primary can be found" in done.stderr


def test_an_isolated_primary_loses_what_it_took_and_the_careful_till_did_not_count_it(
    till: ModuleType, servers: Mapping[str, Server]
) -> None:
    primary = embedded(servers["valkey-primary"])
    old: Any = valkey.Valkey(host="127.0.0.1", port=primary.port, decode_responses=True)  # it has patience
    quick, careful = till.Till(old, "quick"), till.Till(old, "careful", copies=1)
    quick.record(1)
    careful.record(1)
    assert old.wait(2, 10_000) == 2
    primary.pause()
    new = till.connect()
    wait_until(lambda: port_of(new) not in (None, primary.port))
    late = threading.Thread(target=quick.record, args=(2,))
    late.start()  # the command waits in front of a server that stands still
    time.sleep(0.05)
    primary.unpause()
    late.join(PATIENCE)
    assert quick.acknowledged == [1, 2]  # the old primary said so
    wait_until(lambda: old.info("replication").get("master_link_status") == "up")
    quick.client = careful.client = new
    assert quick.lost() == [2]
    assert careful.lost() == []
