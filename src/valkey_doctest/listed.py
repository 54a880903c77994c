"""Which commands a version of Valkey has: asked at the end of one page, unless the record knows it already."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from valkey_doctest import record
from valkey_doctest.record import Command, Commands
from valkey_doctest.servers import Server, ServerError, ask

_OUTPUT = "valkey_doctest_commands"


def commands(port: int) -> Commands:
    """The commands of the server at this port, with their subcommands; not those of modules.

    Raises:
        ServerError: it does not say.
    """
    found: dict[str, Command] = {}
    _add(_fields(ask(port, "COMMAND DOCS")), found)
    return dict(sorted(found.items()))


def _add(documented: dict[str, Any], found: dict[str, Command]) -> None:
    for name, said in documented.items():
        fields = _fields(said)
        if "subcommands" in fields:  # alone it is no command
            _add(_fields(fields["subcommands"]), found)
        elif "module" not in fields:
            found[name.upper().replace("|", " ")] = Command(
                summary=fields.get("summary", ""),
                since=fields.get("since", ""),
                group=fields.get("group", ""),
                complexity=fields.get("complexity", ""),
                flags=sorted(fields.get("doc_flags", ())),
            )


def _fields(said: Any) -> dict[str, Any]:
    """A map, as a server that speaks RESP2 sends it: names and values in turn."""
    return said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))


class Lists:
    """The lists that a run has asked for.

    Args:
        path: of the record.
    """

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        self.found: dict[str, Commands] = {}
        """By version."""

    def at_end(self, server: Server) -> None:
        """Ask a server whose page has ended, if nobody has asked one of its version before."""
        if server.version in self.found or not self._is_ours:
            return
        if not record.lists(self._path, server.version):
            with suppress(ServerError):  # the page stopped it, or left it so that it refuses us: there is a next page
                self.found[server.version] = commands(server.port)

    @property
    def _is_ours(self) -> bool:
        """Whether it is for this process to ask: with xdist for the first, so that each version is asked once."""
        return bool(getattr(self._config, "workerinput", {}).get("workerid", "gw0") == "gw0")

    def hand_over(self) -> None:
        """From a process of xdist's, give what was found to the main process."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_OUTPUT] = self.found

    def take_over(self, node: Any) -> None:
        """In the main process, take what a process of xdist's gives."""
        self.found |= getattr(node, "workeroutput", {}).get(_OUTPUT, {})
