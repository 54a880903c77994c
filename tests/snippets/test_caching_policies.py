"""The programs that fill the server up to its limit: what each policy evicts, and the hit rates."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import valkey


@pytest.fixture(scope="module")
def policies(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("caching/policies.py")


@pytest.fixture(scope="module")
def hit_rate(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The other program under test."""
    return snippet("caching/hit_rate.py")


def settings(client: valkey.Valkey) -> Any:
    return client.config_get("maxmemory*"), client.config_get("lfu*")


def run(policies: ModuleType, client: valkey.Valkey, policy: str) -> dict[str, int]:
    with policies.settings_kept(client):
        client.config_set("lfu-log-factor", 0)
        client.config_set("lfu-decay-time", 0)
        result: dict[str, int] = policies.run(client, policy)
    return result


def test_noeviction_refuses(policies: ModuleType, client: valkey.Valkey) -> None:
    result = run(policies, client, "noeviction")
    assert result["evicted"] == 0
    assert result["refused"] == 700 - result["new"] > 0
    assert (result["lasting"], result["hot"], result["cold"], result["ending"]) == (200, 200, 400, 400)


@pytest.mark.parametrize("policy", ["volatile-random", "volatile-lfu", "volatile-ttl"])
def test_volatile_policies_spare_what_has_no_end(policies: ModuleType, client: valkey.Valkey, policy: str) -> None:
    result = run(policies, client, policy)
    assert result["lasting"] == 200
    assert result["refused"] == 0
    assert result["evicted"] > 300


def test_lfu_keeps_what_is_read_often(policies: ModuleType, client: valkey.Valkey) -> None:
    result = run(policies, client, "allkeys-lfu")
    assert result["hot"] > 180
    assert result["lasting"] < 180


def test_lru_keeps_what_was_read_lately(policies: ModuleType, client: valkey.Valkey) -> None:
    result = run(policies, client, "allkeys-lru")
    assert result["hot"] > 150
    assert result["new"] > 650


def test_other_errors_than_oom_are_not_counted(policies: ModuleType, client: valkey.Valkey) -> None:
    client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(valkey.ResponseError, match="enough good replicas"):
            policies.write(client, "hot")
    finally:
        client.config_set("min-replicas-to-write", 0)


def test_settings_are_put_back_after_a_failure(policies: ModuleType, client: valkey.Valkey) -> None:
    before = settings(client)

    def fails() -> None:
        with policies.settings_kept(client):
            client.config_set("maxmemory", 1)
            client.config_set("maxmemory-policy", "allkeys-lfu")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert settings(client) == before
    assert client.dbsize() == 0


def test_requests_are_always_the_same(hit_rate: ModuleType) -> None:
    assert hit_rate.requests() == hit_rate.requests()
    assert sum(len(batch) for batch in hit_rate.batches(hit_rate.requests())) == hit_rate.REQUESTS


def test_with_room_for_all_only_the_first_visit_misses(hit_rate: ModuleType, client: valkey.Valkey) -> None:
    numbers = [*range(100)] * 4
    assert hit_rate.serve(client, numbers) == 0.75
    assert client.dbsize() == 100


def test_exact_lru(hit_rate: ModuleType) -> None:
    assert hit_rate.exact_lru([1, 2, 1, 3, 1, 2], room=2) == pytest.approx(2 / 6)
    assert hit_rate.exact_lru([1, 2, 3] * 10, room=2) == 0


def test_more_room_more_hits(hit_rate: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hit_rate, "REQUESTS", 4_000)
    monkeypatch.setattr(hit_rate, "POLICIES", ("allkeys-lfu",))
    monkeypatch.setattr(hit_rate, "SHARES", (0.02, 0.5))
    before = settings(client)
    small, large = hit_rate.measure(client)["allkeys-lfu"]
    assert 0 < small < large < 1
    assert settings(client) == before
    assert client.dbsize() == 0


@pytest.mark.parametrize("name", ["policies", "hit_rate"])
def test_without_a_server_it_says_so(
    snippet: Callable[[str], ModuleType],
    name: str,
    nobody: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(nobody)
    assert snippet(f"caching/{name}.py").main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
