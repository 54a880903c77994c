"""The program in which many editors change one document."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import valkey


@pytest.fixture(scope="module")
def settings(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("keys/settings.py")


@pytest.fixture
def shop(settings: ModuleType, client: valkey.Valkey) -> valkey.Valkey:
    """A client of a server that knows IFEQ, with the first version stored."""
    server = client.info("server")
    if tuple(map(int, server["valkey_version"].split(".")[:2])) < (8, 1):
        pytest.skip("SET with IFEQ came with Valkey 8.1")
    settings.create(client, settings.KEY, {"edits": 0})
    return client


def add_one(document: dict[str, Any]) -> None:
    """A change that must not be made twice."""
    document["edits"] += 1


def stored(client: valkey.Valkey, settings: ModuleType) -> Any:
    """The document as it is in the server."""
    return json.loads(client.get(settings.KEY))


def test_only_one_creates(settings: ModuleType, client: valkey.Valkey) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: settings.create(client, "new", {"by": number}), range(8)))
    assert created.count(True) == 1
    assert json.loads(client.get("new")) == {"by": created.index(True)}


def test_no_change_is_lost_among_many_editors(settings: ModuleType, shop: valkey.Valkey) -> None:
    def edit(number: int) -> None:
        for _ in range(10):
            settings.update(shop, settings.KEY, add_one)
        settings.update(shop, settings.KEY, lambda document: document.update({str(number): True}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(edit, range(8)))
    assert stored(shop, settings) == {"edits": 80} | {str(number): True for number in range(8)}


def test_a_change_in_between_is_seen_and_kept(settings: ModuleType, shop: valkey.Valkey) -> None:
    """Another program writes after this one has read, the first two times."""
    seen = []

    def change(document: dict[str, Any]) -> None:
        seen.append(document["edits"])
        if len(seen) <= 2:
            shop.set(settings.KEY, json.dumps({"edits": 10 * len(seen)}))
        document["edits"] += 1

    assert settings.update(shop, settings.KEY, change) == {"edits": 21}
    assert seen == [0, 10, 20]
    assert stored(shop, settings) == {"edits": 21}


def test_gives_up_when_others_are_always_faster(
    settings: ModuleType, shop: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ATTEMPTS", 3)
    rival = iter(range(100, 200))

    def change(document: dict[str, Any]) -> None:
        shop.set(settings.KEY, json.dumps({"edits": next(rival)}))
        document["edits"] = -1

    with pytest.raises(settings.ConflictError, match="3 times in a row"):
        settings.update(shop, settings.KEY, change)
    assert stored(shop, settings) == {"edits": 102}


def test_a_change_that_fails_writes_nothing(settings: ModuleType, shop: valkey.Valkey) -> None:
    def wrong(document: dict[str, Any]) -> None:
        document["edits"] = 99
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        settings.update(shop, settings.KEY, wrong)
    assert stored(shop, settings) == {"edits": 0}


def test_the_expiry_stays(settings: ModuleType, shop: valkey.Valkey) -> None:
    shop.expireat(settings.KEY, 4_000_000_000)
    settings.update(shop, settings.KEY, add_one)
    assert shop.expiretime(settings.KEY) == 4_000_000_000


def test_what_was_removed_in_between_does_not_come_back(settings: ModuleType, shop: valkey.Valkey) -> None:
    def change(document: dict[str, Any]) -> None:
        shop.delete(settings.KEY)
        document["edits"] += 1

    with pytest.raises(LookupError, match="no settings"):
        settings.update(shop, settings.KEY, change)
    assert shop.exists(settings.KEY) == 0


def test_a_connection_that_breaks_before_the_write_leaves_the_old_text(
    settings: ModuleType, shop: valkey.Valkey, port: int
) -> None:
    """The editor's one connection is cut on the server while it changes the document."""
    with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True, single_connection_client=True) as editor:
        me = editor.client_id()

        def change(document: dict[str, Any]) -> None:
            shop.client_kill_filter(_id=me)
            document["edits"] = -1

        with pytest.raises(valkey.ConnectionError):
            settings.update(editor, settings.KEY, change)
        assert stored(shop, settings) == {"edits": 0}
        assert settings.update(editor, settings.KEY, add_one) == {"edits": 1}  # it connects again


def test_other_types_are_refused(settings: ModuleType, shop: valkey.Valkey) -> None:
    shop.rpush("list", "element")
    with pytest.raises(valkey.ResponseError, match="wrong kind"):
        settings.update(shop, "list", add_one)


def test_runs_and_leaves_nothing_behind(
    settings: ModuleType,
    shop: valkey.Valkey,
    port: int,
    at_port: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_port(port)
    assert settings.main() == 0
    assert capsys.readouterr().out == "edits: 40 of 40\neditors: 8 of 8\n"
    assert shop.dbsize() == 0


def test_without_a_server_it_says_so(
    settings: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert settings.main() == 1
    assert "Cannot reach Valkey" in capsys.readouterr().err
