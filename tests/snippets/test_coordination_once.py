"""Payments that happen once, and one leader at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import valkey

from valkey_doctest.session import SHIM

FOLDER = Path(__file__).parents[2] / "snippets" / "coordination"
PATIENCE = 20.0  # seconds, never used up unless something is broken


@pytest.fixture(scope="module")
def payments(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program with the payments."""
    return snippet("coordination/payments.py")


@pytest.fixture(scope="module")
def leader(snippet: Callable[[str], ModuleType]) -> ModuleType:
    """The program with the candidate."""
    return snippet("coordination/leader.py")


@pytest.fixture
def environment(port: int) -> dict[str, str]:
    """What leads a process that asks at 6379 to the server of the test."""
    return {**os.environ, "PYTHONPATH": f"{SHIM}:{FOLDER}", "VALKEY_DOCTEST_PORTS": f"6379:{port}"}


def until(true: Callable[[], object]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def run(program: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as a learner does."""
    return subprocess.run(
        [sys.executable, FOLDER / program],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_one_charge_for_each_key_whoever_asks_and_how_often(payments: ModuleType, client: Any, tmp_path: Path) -> None:
    bank = payments.Bank(tmp_path / "bank.db", knows_keys=False)
    keys = [f"key-{number % 4}" for number in range(80)]
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda key: payments.insist(client, bank, key, 500), keys))
    assert bank.charges() == 4
    assert set(receipts) == {"receipt for 500 cents"}


def test_while_one_works_the_others_are_told_to_come_later(payments: ModuleType, client: Any, tmp_path: Path) -> None:
    class Slow(payments.Bank):  # type: ignore[misc, name-defined]
        def charge(self, key: str, cents: int) -> str:
            with pytest.raises(payments.BusyError):
                payments.pay(client, self, key, cents)
            return str(super().charge(key, cents))

    bank = Slow(tmp_path / "bank.db", knows_keys=False)
    assert payments.pay(client, bank, "k", 500) == payments.pay(client, bank, "k", 500)
    assert bank.charges() == 1


def test_a_key_for_something_else_is_refused(payments: ModuleType, client: Any, tmp_path: Path) -> None:
    bank = payments.Bank(tmp_path / "bank.db", knows_keys=False)
    payments.pay(client, bank, "k", 500)
    with pytest.raises(valkey.ResponseError, match="OTHER"):
        payments.pay(client, bank, "k", 600)
    assert bank.charges() == 1


def test_a_reply_that_is_not_understood_charges_nothing(
    payments: ModuleType, client: Any, port: int, tmp_path: Path
) -> None:
    bank = payments.Bank(tmp_path / "bank.db", knows_keys=False)
    with valkey.Valkey(host="127.0.0.1", port=port) as reads_bytes, pytest.raises(payments.BusyError):
        payments.pay(reads_bytes, bank, "k", 500)
    assert bank.charges() == 0


def test_a_bank_that_fails_leaves_the_claim_until_its_end(payments: ModuleType, client: Any, tmp_path: Path) -> None:
    class Down(payments.Bank):  # type: ignore[misc, name-defined]
        def charge(self, key: str, cents: int) -> str:
            raise TimeoutError(key, cents)

    with pytest.raises(TimeoutError):
        payments.pay(client, Down(tmp_path / "down.db", knows_keys=True), "k", 500)
    bank = payments.Bank(tmp_path / "bank.db", knows_keys=True)
    with pytest.raises(payments.BusyError):
        payments.pay(client, bank, "k", 500)
    assert 0 < int(client.pttl("payment:k")) <= 30_000


def test_a_claim_that_was_too_short_is_reported(
    payments: ModuleType, client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(payments.Bank):  # type: ignore[misc, name-defined]
        def charge(self, key: str, cents: int) -> str:
            client.delete(f"payment:{key}")  # as if the time were over
            return str(super().charge(key, cents))

    payments.pay(client, Slow(tmp_path / "bank.db", knows_keys=False), "k", 500)
    assert "took longer than its claim" in caplog.text
    assert not client.exists("payment:k")


def test_a_crash_between_charge_and_record(client: Any, environment: dict[str, str], tmp_path: Path) -> None:
    done = run("crash.py", environment, tmp_path)
    assert done.stdout.splitlines() == [
        "forgetful: 1 charge at its death, 2 after a retry",
        "careful: 1 charge at its death, 1 after a retry",
    ], done.stderr


def test_one_leads_and_the_other_waits(leader: ModuleType, client: Any) -> None:
    ada, ben = (leader.Candidate(client, "mail", name) for name in ("ada", "ben"))
    assert ada.campaign()
    assert not ben.campaign()
    assert ada.campaign()  # renews
    assert (ada.term, ben.term) == (1, 0)
    assert leader.status(client) == "ada leads, term 1"
    ada.resign()
    assert not ada.leads()
    assert ben.campaign()
    assert ben.term == 2


def test_who_only_follows_takes_nothing_away_by_resigning(leader: ModuleType, client: Any) -> None:
    ada, ben = (leader.Candidate(client, "mail", name) for name in ("ada", "ben"))
    ada.campaign()
    ben.campaign()
    ben.resign()
    assert leader.status(client) == "ada leads, term 1"


def test_a_program_that_was_restarted_under_the_same_name_begins_a_term_of_its_own(
    leader: ModuleType, client: Any
) -> None:
    old, new = (leader.Candidate(client, "mail", "ada") for _ in range(2))
    assert old.campaign()
    assert not new.campaign()
    new.resign()  # not for the old one
    assert leader.status(client) == "ada leads, term 1"
    client.delete("leader:{mail}")  # as if the lease were over
    assert new.campaign()
    assert (old.term, new.term) == (1, 2)


def test_of_many_candidates_at_once_one_wins_each_term(leader: ModuleType, client: Any) -> None:
    for term in range(1, 6):
        candidates = [leader.Candidate(client, "mail", f"c{number}") for number in range(12)]
        with ThreadPoolExecutor(12) as pool:
            won = list(pool.map(lambda each: each.campaign(), candidates))
        assert won.count(True) == 1
        assert max(each.term for each in candidates) == term
        candidates[won.index(True)].resign()


def test_a_leader_that_was_stopped_knows_it_by_its_own_clock(
    leader: ModuleType, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = leader.Candidate(client, "mail", "ada")
    assert ada.campaign()
    later = time.monotonic() + leader.LEASE / 1_000
    monkeypatch.setattr(leader.time, "monotonic", lambda: later)
    assert not ada.leads()  # without asking the server, which may not be there


def test_the_leader_is_killed_and_the_other_takes_over(
    leader: ModuleType, client: Any, environment: dict[str, str]
) -> None:
    processes = {
        name: subprocess.Popen(
            [sys.executable, FOLDER / "leader.py", name], env=environment, stdout=subprocess.PIPE, text=True
        )
        for name in ("ada", "ben")
    }
    try:
        until(lambda: client.scard("leader:{mail}:candidates") == 2)
        first = leader.status(client).split()[0]
        second = "ben" if first == "ada" else "ada"
        processes[first].kill()
        assert processes[first].wait(PATIENCE) == -signal.SIGKILL
        client.pexpire("leader:{mail}", 1)  # its lease need not be waited for
        until(lambda: leader.status(client) == f"{second} leads, term 2")
        processes[second].terminate()
        output, _ = processes[second].communicate(timeout=PATIENCE)
        assert processes[second].returncode == 0
        assert output == f"{second} leads, term 2\n"
        assert leader.status(client) == "nobody leads, term 2"
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def test_payments_run(client: Any, environment: dict[str, str], tmp_path: Path) -> None:
    assert run("payments.py", environment, tmp_path).stdout == "40 requests for 5 payments: charged 5 times\n"
    assert run("leader.py", environment, tmp_path).stdout == "nobody leads, term 0\n"


@pytest.mark.parametrize("program", ["payments.py", "crash.py", "leader.py", "election.py"])
def test_without_a_server_they_say_so(program: str, nobody: int, environment: dict[str, str], tmp_path: Path) -> None:
    done = run(program, {**environment, "VALKEY_DOCTEST_PORTS": f"6379:{nobody}"}, tmp_path)
    assert done.returncode == 1
    assert "Cannot reach Valkey" in done.stderr
