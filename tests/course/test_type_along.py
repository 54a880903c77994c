"""The course typed along: page after page into one server, in the order of the navigation, as a learner does.

The other tests give every page a fresh server. A learner has one, with what the pages before it left there: keys are
the next page's to delete, with FLUSHALL, but settings, users, functions and blocked clients are not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from valkey_doctest.fences import FenceError, Page, read_page
from valkey_doctest.page import Plan, plan, replay
from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import DOCUMENTED_PORT, Member, Provider, ask, deployments, free_port
from valkey_doctest.servers.embedded import EmbeddedProvider, EmbeddedServer
from valkey_doctest.servers.external import look
from valkey_doctest.session import DEFAULT_SERVER, Session

ROOT = Path(__file__).parents[2]


class OneServer(EmbeddedProvider):
    """Every page's ``valkey-dev`` is the same server; what a page starts beside it is its own."""

    def __init__(self, version: str, reaper: Reaper) -> None:
        super().__init__(version, reaper)
        self.server = EmbeddedServer(Member(DEFAULT_SERVER, DOCUMENTED_PORT), free_port(), self)
        self.server.remove = lambda: None  # type: ignore[method-assign]  # a page ends, the server stays
        self.server.start()

    def start(self, name: str, arguments: Sequence[str] = ()) -> EmbeddedServer:
        is_shared = not arguments and re.fullmatch(rf"{DEFAULT_SERVER}-[0-9a-f]+", name)
        return self.server if is_shared else super().start(name, arguments)

    def remove(self) -> None:
        EmbeddedServer.remove(self.server)


@pytest.fixture
def one(provider: Provider, reaper: Reaper) -> Iterator[OneServer]:
    each = OneServer(provider.version, reaper)
    yield each
    each.remove()


def type_along(plans: Sequence[Plan], one: OneServer, reaper: Reaper) -> list[str]:
    """What is wrong, at file:line."""
    wrong = []
    for each in plans:
        path, before = each.page.path, look(one.server.port)
        results = replay(each, lambda kind: Session(one, reaper, kind, 10), one.version)
        wrong += [f"{path}:{result.line}: {result.reason}" for result in results if result.verdict == "failed"]
        one.server.start()  # unless it runs
        if clients := clients_left(one.server.port):
            wrong.append(f"{path}:1: leaves clients behind: {clients}")
        after = look(one.server.port)
        wrong += [
            f"{path}:{line_of(each.page, name)}: leaves behind, for all pages after it: {text}"
            for name, text in before.differences(after).items()
        ]
        before.put_back(after, one.server.port)  # one page's fault is not the next one's
        ask(one.server.port, "FUNCTION", "FLUSH")
    return wrong


def clients_left(port: int) -> str:
    """Those that are connected when the page is over; they get time to be noticed as gone."""
    end = time.monotonic() + 5
    while True:
        others = [line for line in ask(port, "CLIENT", "LIST").splitlines() if " cmd=client|list " not in line]
        if not others or time.monotonic() > end:
            return "\n".join(others)
        time.sleep(0.02)


def line_of(page: Page, name: str) -> int:
    """The last line of a fence with the last word of, say, ``library shop``."""
    mentioned = [
        fence.body_line(index)
        for fence in page.fences
        for index, text in enumerate(fence.text.split("\n"))
        if name.rsplit(maxsplit=1)[-1].lower() in text.lower()
    ]
    return mentioned[-1] if mentioned else 1


def course() -> list[Path]:
    """The pages in the order of the navigation; those that are not in it yet come last."""
    listed = re.findall(r"(?m)^ +- .*?([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"))
    order = [ROOT / "docs" / name for name in listed]
    return [*order, *sorted(set((ROOT / "docs").rglob("*.md")) - set(order))]


def test_the_whole_course_can_be_typed_into_one_server(one: OneServer, reaper: Reaper) -> None:
    plans, wrong = [], []
    for path in course():
        try:
            plans.append(plan(read_page(path, root=ROOT)))
        except FenceError as error:
            wrong.append(str(error))
    alone = [each for each in plans if each.deployment not in deployments.KINDS]
    assert len(alone) >= 5
    if wrong := [*wrong, *type_along(alone, one, reaper)]:
        pytest.fail("\n".join(wrong), pytrace=False)


GOOD = "```valkey-cli\n127.0.0.1:6379> FLUSHALL\nOK\n127.0.0.1:6379> INCR visits\n(integer) 1\n```\n"
SETS = """\
```valkey-cli
127.0.0.1:6379> CONFIG SET maxmemory 100mb
OK
127.0.0.1:6379> ACL SETUSER alice on
OK
127.0.0.1:6379> FUNCTION LOAD "#!lua name=shop\\nserver.register_function('price', function() return 7 end)"
"shop"
```
"""


def pages(*texts: str, folder: Path) -> list[Plan]:
    found = []
    for number, text in enumerate(texts, 1):
        path = folder / f"{number}.md"
        path.write_text(text, "utf-8")
        found.append(plan(read_page(path, root=folder)))
    return found


def test_a_page_that_needs_a_fresh_server_is_found(one: OneServer, reaper: Reaper, tmp_path: Path) -> None:
    careless = GOOD.replace("127.0.0.1:6379> FLUSHALL\nOK\n", "")
    assert type_along(pages(careless, GOOD, folder=tmp_path), one, reaper) == []
    (wrong,) = type_along(pages(GOOD, careless, folder=tmp_path), one, reaper)
    assert wrong.startswith("2.md:2: the reply differs.")


def test_what_a_page_leaves_changed_is_found(one: OneServer, reaper: Reaper, tmp_path: Path) -> None:
    wrong = type_along(pages(SETS, GOOD, folder=tmp_path), one, reaper)
    assert [each.split(": ")[0] for each in wrong] == ["1.md:2", "1.md:4", "1.md:7"]
    assert "maxmemory is '104857600', was '0'" in wrong[0]
    undone = "127.0.0.1:6379> CONFIG SET maxmemory 0\nOK\n127.0.0.1:6379> ACL DELUSER alice\n(integer) 1\n"
    undone += "127.0.0.1:6379> FUNCTION DELETE shop\nOK\n```\n"
    ask(one.server.port, "ACL", "DELUSER", "alice")
    assert type_along(pages(SETS.removesuffix("```\n") + undone, GOOD, folder=tmp_path), one, reaper) == []


def test_a_client_that_stays_is_found(one: OneServer, reaper: Reaper, tmp_path: Path) -> None:
    leaves = (
        "```python\nimport subprocess, sys\n\nsubprocess.Popen(\n"
        '    [sys.executable, "-c", "import valkey; valkey.Valkey().blpop(\'jobs\', 8)"], start_new_session=True\n)\n'
        "import time, valkey\n\n"
        "while not valkey.Valkey().info('clients')['blocked_clients']:\n    time.sleep(0.02)\n```\n"
    )
    (wrong,) = type_along(pages(leaves, folder=tmp_path), one, reaper)
    assert wrong.startswith("1.md:1: leaves clients behind: ")
    assert "cmd=blpop" in wrong
