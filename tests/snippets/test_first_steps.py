"""The link shortener."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def links(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("introduction/first_steps.py")


ADDRESS = "https://example.org/a/long/address"


def test_codes_are_unique_and_short(links: ModuleType) -> None:
    codes = [links.encode(number) for number in range(1, 5_000)]
    assert len(set(codes)) == len(codes)
    assert max(map(len, codes)) == 3


def test_a_code_leads_back(links: ModuleType, client: valkey.Valkey) -> None:
    code = links.shorten(client, ADDRESS)
    assert links.follow(client, code) == ADDRESS


def test_the_same_address_gets_two_codes(links: ModuleType, client: valkey.Valkey) -> None:
    assert links.shorten(client, ADDRESS) != links.shorten(client, ADDRESS)


def test_counts_visits(links: ModuleType, client: valkey.Valkey) -> None:
    code = links.shorten(client, ADDRESS)
    assert links.visits(client, code) == 0
    links.follow(client, code)
    links.follow(client, code)
    assert links.visits(client, code) == 2


def test_an_unknown_code_is_an_error_and_not_counted(links: ModuleType, client: valkey.Valkey) -> None:
    with pytest.raises(links.UnknownLinkError, match="nope"):
        links.follow(client, "nope")
    assert client.dbsize() == 0


@pytest.mark.parametrize("address", ["", "example.org", "javascript:alert(1)", "ftp://example.org"])
def test_refuses_what_is_no_web_address(links: ModuleType, client: valkey.Valkey, address: str) -> None:
    with pytest.raises(ValueError, match="not a web address"):
        links.shorten(client, address)
    assert client.dbsize() == 0


def test_forgets_the_link_and_its_counter(links: ModuleType, client: valkey.Valkey) -> None:
    code = links.shorten(client, ADDRESS)
    links.follow(client, code)
    assert links.forget(client, code)
    assert client.keys("link:*") == []
    assert not links.forget(client, code)


def test_a_code_is_not_given_again(links: ModuleType, client: valkey.Valkey) -> None:
    code = links.shorten(client, ADDRESS)
    links.forget(client, code)
    assert links.shorten(client, ADDRESS) != code


def test_runs(links: ModuleType, port: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    at_port(port)
    assert links.main() == 0
    assert "was followed 2 times" in capsys.readouterr().out


def test_without_a_server_it_says_so(
    links: ModuleType, nobody: int, at_port: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    at_port(nobody)
    assert links.main() == 1
    assert "Valkey does not answer" in capsys.readouterr().err
