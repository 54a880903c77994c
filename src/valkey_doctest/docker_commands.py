"""The Docker commands that are about one Valkey server, as actions that any provider can perform.

A page tells learners ``docker kill valkey-dev``. In containers that very command is run. On embedded
servers the same thing is done to the server's process: it gets the same signal, and starts again on
the same data. What is not understood here needs Docker, and is skipped without it.
"""

from __future__ import annotations

import re
import shlex
from typing import Literal, NamedTuple

Verb = Literal["run", "exec", "open", "stop", "kill", "start", "restart", "pause", "unpause", "rm", "inside", "copy"]

_MENTIONED = re.compile(r"\bdocker\b")
_OPTIONS = re.compile(r"(?:(?:-[c23]|-[pn] \d+)(?: |$))*$")
"""Of a ``valkey-cli`` that opens a terminal: in a cluster (``-c``), protocol, port and database."""
_IMAGE = re.compile(r"valkey/valkey:\d+\.\d+$")


class Action(NamedTuple):
    """One such command."""

    verb: Verb
    """``open`` is ``docker exec -it NAME valkey-cli`` without a command: it opens what transcripts go on in. ``inside``
    runs another program where the server's data is, ``copy`` copies a file out of there or into it."""
    name: str
    """The container, as the page calls it."""
    arguments: tuple[str, ...] = ()
    """What follows ``valkey-server`` or ``valkey-cli``; of ``inside`` all words, of ``copy`` from where to where."""
    input: str | None = None
    """The file that standard input comes from."""


def mentions_docker(command: str) -> bool:
    """Whether a shell command has to do with Docker at all."""
    return bool(_MENTIONED.search(command))


def parse(command: str) -> Action | None:  # noqa: C901, PLR0911  a case, a return
    """The action a shell command stands for; ``None`` if it is anything else.

    ```python
    from valkey_doctest.docker_commands import Action, parse

    assert parse("docker kill valkey-dev") == Action("kill", "valkey-dev")
    assert parse("docker exec valkey-dev valkey-cli GET a") == Action("exec", "valkey-dev", ("GET", "a"))
    assert parse("docker exec valkey-dev valkey-cli GET a | wc") is None
    assert parse("docker exec -i valkey-dev valkey-cli -x SET a < file") == Action(
        "exec", "valkey-dev", ("-x", "SET", "a"), "file"
    )
    assert parse("docker exec -it valkey-node-1 valkey-cli -c -p 7001") == Action(
        "open", "valkey-node-1", ("-c", "-p", "7001")
    )
    assert parse("docker cp valkey-dev:/data/dump.rdb .") == Action(
        "copy", "valkey-dev", ("valkey-dev:/data/dump.rdb", ".")
    )
    ```
    """
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return None
    file = None
    if words[2:3] == ["-i"] and words[-2:-1] == ["<"]:
        file = words[-1]
        words = [*words[:2], *words[3:-2]]
    if any(re.fullmatch(r"[();<>|&]+", word) for word in words):
        return None  # a pipe, a redirection or several commands: the shell's business
    match words:
        case ["docker", ("stop" | "kill" | "start" | "restart" | "pause" | "unpause") as verb, name]:
            return Action(verb, name)
        case ["docker", "rm", "-fv", name]:
            return Action("rm", name)
        case ["docker", "run", "-d", "--name", name, image, "valkey-server", *arguments] if _IMAGE.match(image):
            return Action("run", name, tuple(arguments))
        case ["docker", "exec", "-it", name, "valkey-cli", *arguments] if _OPTIONS.match(" ".join(arguments)):
            return Action("open", name, tuple(arguments))
        case ["docker", "exec", name, "valkey-cli", *arguments]:
            return Action("exec", name, tuple(arguments), file)
        case ["docker", "exec", name, *words] if words and not name.startswith("-"):
            return Action("inside", name, tuple(words), file)
        case ["docker", "run", "--rm", "--volumes-from", name, image, *words] if words and _IMAGE.match(image):
            return Action("inside", name, tuple(words), file)
        case ["docker", "cp", source, target]:
            names = [word.partition(":")[0] for word in (source, target) if ":" in word]
            return Action("copy", names[0], (source, target)) if len(names) == 1 else None
    return None
