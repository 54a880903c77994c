"""``make bench``: the same 500 exchanges through this project's engine and through its peers, in one run.

A machine is fast or slow, so only ratios within one run say something. Each round runs every tool once, one
after the other; the median of a tool's rounds is its time, from the start of its process to the end. Tools that
need a server get one that runs already; ours starts its own within its time. Before the clock is started, every
tool has to pass the right replies and to fail when one of the 500 is wrong: who does not look is not compared.

Every pytest loads the plugins it needs and no others: hypothesis, which this project's own tests use, imports
itself for longer than all else takes. The floor is one ``valkey-cli`` that reads the commands from a pipe;
nobody looks at what it replies.

The requirements:

- ours at most 0.8 times the sum of pytest with 500 empty tests and the floor;
- the fastest peer at least 1.8 times as slow as ours.

A peer gives a verdict on each of the 500. pytest-markdown-docs with a fence of five does not, so it is printed, but is
no peer: it gives up a fence at its first wrong reply, and what is wrong behind that shows in the next run only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Server, ServerError
from valkey_doctest.servers.choose import choose

HERE = Path(__file__).parent
PEERS_BIN = HERE.parent / ".venv-bench" / "bin"

FENCES = 100
OF_EMPTY_AND_FLOOR = 0.8
FASTER_THAN_PEERS = 1.8

FLOOR, OURS, EMPTY, VERSION = "valkey-cli, piped: the floor", "ours", "pytest, 500 empty tests", "pytest --version"
CONFTEST = 'from valkey_doctest.plugin import pages\n\npytest_collect_file = pages("docs")\n'
PYTHON_CONFTEST = """\
import valkey

CLIENT = valkey.Valkey(port={port}, decode_responses=True)


def pytest_markdown_docs_globals():
    return {{"client": CLIENT}}
"""

# One process a command, from Python: what a test that calls `subprocess.run` for each command costs.
PROCESSES = """\
import subprocess
import sys

for command, reply in {exchanges!r}:
    said = subprocess.run([*{cli!r}, "--no-raw", *command], capture_output=True, text=True, check=True).stdout
    if said.rstrip("\\n") != reply:
        sys.exit(f"{{command}}: {{said}}")
"""


@dataclass(frozen=True)
class Exchange:
    """A command, what valkey-cli shows for it, and the same in Python."""

    command: str
    reply: str
    python: str


def exchanges(fence: int) -> list[Exchange]:
    """The five of one fence; each depends on those before it."""
    return [
        Exchange(f'SET key:{fence} "value {fence}"', "OK", f'client.set("key:{fence}", "value {fence}") is True'),
        Exchange(f"GET key:{fence}", f'"value {fence}"', f'client.get("key:{fence}") == "value {fence}"'),
        Exchange("INCR visits", f"(integer) {fence + 1}", f'client.incr("visits") == {fence + 1}'),
        Exchange(f"LPUSH list:{fence} a b c", "(integer) 3", f'client.lpush("list:{fence}", "a", "b", "c") == 3'),
        Exchange(
            f"LRANGE list:{fence} 0 -1",
            '1) "c"\n2) "b"\n3) "a"',
            f'client.lrange("list:{fence}", 0, -1) == ["c", "b", "a"]',
        ),
    ]


@dataclass(frozen=True)
class Tool:
    """What runs the 500 exchanges, or is compared with it."""

    name: str
    command: Sequence[str]
    text: Callable[[list[list[Exchange]]], str] | None = None
    """What it reads, of all fences; ``None`` if it checks nothing."""
    file: str = ""
    """Where it reads that, in its folder."""
    is_peer: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    """What else is in its folder: names to texts."""


def tools(cli: list[str], port: int) -> list[Tool]:
    """All of them, with a server at this port for those that need one."""
    pytest = [sys.executable, "-m", "pytest", "-q"]
    right = [exchanges(fence) for fence in range(FENCES)]
    commands = "".join(f"{each.command}\n" for fence in right for each in fence)
    byexample = [str(PEERS_BIN / "byexample"), "--pretty=none", "--no-progress-bar"]
    function = f'{shlex.join([*cli, "--no-raw"])} "$@"'
    return [
        Tool(FLOOR, cli, stdin=commands),
        Tool(
            OURS,
            [*pytest, "-p", "valkey_doctest.plugin", "--valkey-server=embedded", "docs"],
            _transcript,
            "docs/page.md",
            others={"conftest.py": CONFTEST},
        ),
        Tool(
            EMPTY,
            [*pytest, "test_empty.py"],
            others={"test_empty.py": "".join(f"def test_{n}():\n    pass\n\n\n" for n in range(len(right) * 5))},
        ),
        Tool(VERSION, [*pytest, "--version"]),
        Tool(
            "byexample, a runner for valkey-cli",
            [*byexample, "-m", str(HERE / "byexample_modules"), "-l", "valkey-cli", "page.md"],
            _transcript,
            "page.md",
            is_peer=True,
            environment={"VALKEY_CLI": cli[0], "VALKEY_PORT": str(port)},
        ),
        Tool(
            "byexample, through a shell",
            [*byexample, "-l", "shell", "page.md"],
            lambda fences: _console(fences, "", "```console\n", "```\n", f"$ cli() {{ {function}; }}"),
            "page.md",
            is_peer=True,
        ),
        Tool(
            "prysk",
            [str(PEERS_BIN / "prysk"), "page.t"],
            lambda fences: _console(fences, "  ", "Fence:\n\n", "", f"$ cli() {{ {function}; }}"),
            "page.t",
            is_peer=True,
        ),
        *(
            Tool(
                f"pytest-markdown-docs, a fence {what}",
                [*pytest, "-p", "pytest_markdown_docs.plugin", "--markdown-docs", "page.md"],
                python,
                "page.md",
                is_peer=what == "an exchange",
                others={"conftest.py": PYTHON_CONFTEST.format(port=port)},
            )
            for what, python in (
                ("an exchange", lambda fences: _python([[e] for f in fences for e in f])),
                ("of five", _python),
            )
        ),
        Tool(
            "one valkey-cli process a command",
            [sys.executable, "check.py"],
            lambda fences: PROCESSES.format(
                exchanges=[(shlex.split(each.command), each.reply) for fence in fences for each in fence], cli=cli
            ),
            "check.py",
            is_peer=True,
        ),
    ]


def _transcript(fences: list[list[Exchange]]) -> str:
    return "".join(
        "```valkey-cli\n" + "".join(f"127.0.0.1:6379> {e.command}\n{e.reply}\n" for e in fence) + "```\n\n"
        for fence in fences
    )


def _python(fences: list[list[Exchange]]) -> str:
    return "".join("```python\n" + "".join(f"assert {e.python}\n" for e in fence) + "```\n\n" for fence in fences)


def _console(fences: list[list[Exchange]], indent: str, before: str, after: str, first: str) -> str:
    parts = [f"{before}{indent}{first}\n{after}\n"]
    for fence in fences:
        lines = [line for e in fence for line in (f"$ cli {e.command}", *e.reply.split("\n"))]
        parts.append(before + "".join(f"{indent}{line}\n" for line in lines) + after + "\n")
    return "".join(parts)


class Bench:
    """A folder for each tool, and a server for those that do not start one."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._cli = server.cli(terminal=False)
        self._environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NO_COLOR": "1"}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who runs a tool twice has it compiled
        self._environment |= {"PATH": os.pathsep.join([str(PEERS_BIN), os.environ.get("PATH", os.defpath)])}
        self.tools = tools(self._cli, server.port)
        right = [exchanges(fence) for fence in range(FENCES)]
        for tool in self.tools:
            self.write(tool, right)

    def _home(self, tool: Tool) -> Path:
        return self._folder / str(self.tools.index(tool))

    def write(self, tool: Tool, fences: list[list[Exchange]]) -> None:
        """Lay out what a tool reads."""
        texts = {"pytest.ini": "[pytest]\n", **tool.others}
        if tool.text:
            texts[tool.file] = tool.text(fences)
        for name, text in texts.items():
            path = self._home(tool) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def run(self, tool: Tool) -> tuple[float, subprocess.CompletedProcess[str]]:
        """Seconds, and what it said; on an empty server."""
        subprocess.run([*self._cli, "FLUSHALL"], stdout=subprocess.DEVNULL, check=True)
        started = time.perf_counter()
        done = subprocess.run(
            tool.command,
            cwd=self._home(tool),
            env={**self._environment, **tool.environment},
            input=tool.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return time.perf_counter() - started, done

    def verify(self, tool: Tool) -> None:
        """The right replies pass; a wrong one, in the middle, does not."""
        _, done = self.run(tool)
        if done.returncode:
            sys.exit(f"{tool.name} fails on the right replies:\n{done.stdout[-2000:]}")
        if not tool.text:
            return
        wrong = [exchanges(fence) for fence in range(FENCES)]
        command = wrong[FENCES // 2][1].command
        wrong[FENCES // 2][1] = Exchange(command, '"wrong"', 'client.get("key:0") == "wrong"')
        self.write(tool, wrong)
        _, done = self.run(tool)
        if not done.returncode:
            sys.exit(f"{tool.name} does not see a wrong reply:\n{done.stdout[-2000:]}")
        self.write(tool, [exchanges(fence) for fence in range(FENCES)])


def main() -> int:
    """Run, print, and say whether the requirements are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="three rounds instead of seven")
    rounds = 3 if parser.parse_args().quick else 7
    if not PEERS_BIN.exists():
        sys.exit(f"{PEERS_BIN} is missing: `make bench` makes it.")
    reaper = Reaper()
    try:
        server = choose("embedded", [], "valkey/valkey", reaper)[0].start("bench")
        with tempfile.TemporaryDirectory(prefix="valkey-bench-") as folder:
            medians = _measure(Bench(Path(folder), server), rounds)
    except ServerError as error:
        sys.exit(str(error))
    finally:
        reaper.close()
    return _report(*medians)


def _measure(bench: Bench, rounds: int) -> tuple[dict[str, float], set[str]]:
    for tool in bench.tools:
        bench.verify(tool)
    seconds: dict[str, list[float]] = {tool.name: [] for tool in bench.tools}
    for _ in range(rounds):
        for tool in bench.tools:
            took, done = bench.run(tool)
            if done.returncode:
                sys.exit(f"{tool.name} fails:\n{done.stdout[-2000:]}")
            seconds[tool.name].append(took)
    return {name: statistics.median(each) for name, each in seconds.items()}, {t.name for t in bench.tools if t.is_peer}


def _report(medians: Mapping[str, float], peers: set[str]) -> int:
    print(f"{'500 exchanges':42}{'seconds':>8}{'x floor':>9}{'x ours':>8}")
    for name, median in sorted(medians.items(), key=lambda each: each[1]):
        print(f"{name:42}{median:8.3f}{median / medians[FLOOR]:9.1f}{median / medians[OURS]:8.2f}")
    allowed = OF_EMPTY_AND_FLOOR * (medians[EMPTY] + medians[FLOOR])
    fastest = min(peers, key=lambda name: medians[name])
    faster = medians[fastest] / medians[OURS]
    results = [
        (
            medians[OURS] <= allowed,
            f"ours {medians[OURS]:.3f} s, at most {OF_EMPTY_AND_FLOOR} x (empty tests + floor) = {allowed:.3f} s",
        ),
        (
            faster >= FASTER_THAN_PEERS,
            f"{faster:.2f} times as fast as the fastest peer ({fastest}), at least {FASTER_THAN_PEERS}",
        ),
    ]
    print()
    for met, text in results:
        print(f"{'PASS' if met else 'MISS'}  {text}")
    return 0 if all(met for met, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
