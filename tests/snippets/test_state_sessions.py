"""Sessions and tokens: nobody gets in with what was ended, used or changed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import ModuleType

import pytest
import valkey


@pytest.fixture(scope="module")
def sessions(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/sessions.py")


@pytest.fixture(scope="module")
def tokens(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program under test."""
    return snippet("state/tokens.py")


def key_of(token: str, sessions: ModuleType) -> str:
    user, _, secret = token.rpartition(".")
    return f"{{user:{user}}}:session:{sessions.digest(secret)}"


def test_a_session_knows_its_facts_and_lives_on_when_used(sessions: ModuleType, client: valkey.Valkey) -> None:
    all_sessions = sessions.Sessions(client)
    token = all_sessions.start("7", device="phone")
    client.pexpire(key_of(token, sessions), 60_000)
    loaded = all_sessions.load(token)
    assert loaded is not None
    assert loaded["device"] == "phone"
    assert client.pttl(key_of(token, sessions)) > 60_000


def test_a_session_does_not_outlive_its_end_however_often_it_is_used(
    sessions: ModuleType, client: valkey.Valkey
) -> None:
    all_sessions = sessions.Sessions(client, idle=1000, life=60)
    token = all_sessions.start("7")
    assert all_sessions.load(token) is not None
    assert 0 < client.pttl(key_of(token, sessions)) <= 60_000


def test_the_secret_is_not_on_the_server(sessions: ModuleType, client: valkey.Valkey) -> None:
    all_sessions = sessions.Sessions(client)
    secret = all_sessions.start("7").rpartition(".")[2]
    everything = [*client.scan_iter(), *client.zrange(all_sessions.index("7"), 0, -1)]
    assert len(everything) == 3
    assert not [each for each in everything if secret in each]


def test_what_has_expired_is_neither_counted_nor_kept(sessions: ModuleType, client: valkey.Valkey) -> None:
    all_sessions = sessions.Sessions(client)
    old = all_sessions.start("7")
    client.delete(key_of(old, sessions))  # as if its time were over
    client.zadd(all_sessions.index("7"), {sessions.digest(old.rpartition(".")[2]): 1})
    assert all_sessions.load(old) is None
    assert all_sessions.count("7") == 0
    all_sessions.start("7")
    assert (all_sessions.count("7"), client.zcard(all_sessions.index("7"))) == (1, 1)


def test_after_a_rotation_only_the_new_token_works(sessions: ModuleType, client: valkey.Valkey) -> None:
    all_sessions = sessions.Sessions(client)
    old = all_sessions.start("7", device="phone")
    with ThreadPoolExecutor(8) as pool:
        fresh = [token for token in pool.map(all_sessions.rotate, [old] * 8) if token]
    assert len(fresh) == 1
    assert all_sessions.load(old) is None
    assert all_sessions.load(fresh[0])["device"] == "phone"
    assert client.ttl(key_of(fresh[0], sessions)) > 0
    assert all_sessions.count("7") == 1
    assert all_sessions.rotate("7.invented") is None


def test_log_out_on_one_device_and_on_all(sessions: ModuleType, client: valkey.Valkey) -> None:
    all_sessions = sessions.Sessions(client)
    phone, laptop, other = all_sessions.start("7"), all_sessions.start("7"), all_sessions.start("8")
    assert [all_sessions.end(phone), all_sessions.end(phone)] == [True, False]
    assert all_sessions.load(laptop) is not None
    assert [all_sessions.end_all("7"), all_sessions.end_all("7")] == [1, 0]
    assert all_sessions.load(laptop) is None
    assert all_sessions.load(other) is not None
    assert client.exists(all_sessions.index("7")) == 0


def test_a_log_out_of_all_that_dies_half_way_has_logged_out_all(
    sessions: ModuleType, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        """The end of this client."""

    def dies(*_: object) -> int:
        raise KilledError

    all_sessions = sessions.Sessions(client)
    tokens = [all_sessions.start("7") for _ in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(client, "delete", dies)
        with pytest.raises(KilledError):
            all_sessions.end_all("7")
    assert client.dbsize() == 3  # they are there, and will expire
    assert all(client.ttl(key) > 0 for key in client.scan_iter())
    assert [all_sessions.load(token) for token in tokens] == [None] * 3
    assert [all_sessions.rotate(token) for token in tokens] == [None] * 3
    assert all_sessions.count("7") == 0


def test_a_login_at_the_same_moment_is_not_missed_by_a_log_out_of_all(
    sessions: ModuleType, client: valkey.Valkey, port: int
) -> None:
    all_sessions = sessions.Sessions(client)
    stop = Event()

    def log_in_again_and_again() -> None:
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as other:
            mine = sessions.Sessions(other)
            for _ in range(30):
                mine.start("7")
        stop.set()

    with ThreadPoolExecutor(1) as pool:
        logins = pool.submit(log_in_again_and_again)
        while not stop.is_set() and not logins.done():
            all_sessions.end_all("7")
        logins.result()
    left = list(client.scan_iter(match="{user:7}:session:*"))
    assert len(left) == client.zcard(all_sessions.index("7"))  # none that the index does not know
    all_sessions.end_all("7")
    assert client.dbsize() == 0


def test_clients_that_are_killed_leave_no_session_without_an_end(
    sessions: ModuleType, client: valkey.Valkey, port: int
) -> None:
    def log_in(_: int) -> None:
        with valkey.Valkey(host="127.0.0.1", port=port, decode_responses=True) as mine:
            try:
                token = sessions.Sessions(mine).start("7")
                sessions.Sessions(mine).rotate(token)
            except valkey.ConnectionError:
                return

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(log_in, number) for number in range(40)]
        while not all(job.done() for job in jobs):
            client.client_kill_filter(_type="normal", skipme=True)
        for job in jobs:
            job.result()
    keys = list(client.scan_iter(match="{user:7}:session:*"))
    assert len(keys) == client.zcard("{user:7}:sessions")
    assert all(client.ttl(key) > 0 and client.hexists(key, "ends") for key in keys)


def test_twenty_clients_one_token_one_winner(tokens: ModuleType, client: valkey.Valkey) -> None:
    for _ in range(5):
        assert tokens.race(client, tokens.issue(client, "download", "media:1")) == ["media:1"]
    assert client.dbsize() == 0


def test_a_token_is_for_one_purpose_and_ends(tokens: ModuleType, client: valkey.Valkey) -> None:
    token = tokens.issue(client, "reset", "user:7", seconds=60)
    assert tokens.redeem(client, "download", token) is None
    assert 0 < client.ttl(tokens.key("reset", token)) <= 60
    assert token not in tokens.key("reset", token)
    assert tokens.redeem(client, "reset", token) == "user:7"


@pytest.mark.parametrize(
    ("change", "now"),
    [
        (lambda link: link, 100),
        (lambda link: link.replace("/a", "/b"), 99),
        (lambda link: link.replace("=100&", "=101&"), 99),
        (lambda link: link[:-1], 99),
        (lambda link: link + "é", 99),
        (lambda link: link.replace("100", "¹00"), 99),
        (lambda link: link.replace("100", "1" * 5000), 99),
        (lambda _: "/a", 99),
        (lambda _: "", 99),
    ],
)
def test_a_signed_link_that_is_late_or_changed_is_refused(
    tokens: ModuleType, change: Callable[[str], str], now: int
) -> None:
    link = tokens.sign(b"secret", "/a", 100)
    assert tokens.check(b"secret", link, 99) == "/a"
    assert tokens.check(b"other", link, 99) is None
    assert tokens.check(b"secret", change(link), now) is None


@pytest.mark.parametrize(("name", "count"), [("sessions", 5), ("tokens", 4)])
def test_runs_and_says_when_there_is_no_server(
    name: str, count: int, snippet: Callable[[str], ModuleType], lines: Callable[[ModuleType], list[str]]
) -> None:
    assert len(lines(snippet(f"state/{name}.py"))) == count
