"""Documented names and real ones, and the way from one to the other.

A page says ``127.0.0.1:6379``, ``valkey-dev`` or a stream's id ``1795473875707-0``; a run has another
port, another container name, another id. What is bound here is translated in everything that is sent
and in everything that comes back, so that pages read as if they had been typed along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

# Arguments may be quoted, and stand apart as the words of a program's command line do.
_ADDRESS = re.compile(
    r"""(?<![\w.-])(?P<before>(?:127\.0\.0\.1|localhost)(?::|["']?[\s\0]+["']?)|-p[\s\0]+)(?P<port>\d+)(?!\w)"""
)

_CLIENT_IDS = re.compile(r"(?P<before>\b(?:ID|UNBLOCK|REDIRECT)[\s\0]+)(?P<ids>\d+(?:[\s\0]+\d+)*)", re.IGNORECASE)
"""Where a ``CLIENT`` command says which clients it is about. A bare number elsewhere is data."""

_SHOWN_CLIENT_ID = re.compile(r"(?P<before>\b(?:id|redir)=)(?P<id>\d+)\b")


class NameConflictError(Exception):
    """One documented value was to stand for two real ones, or the reverse."""


@dataclass
class Names:
    """Pairs of documented and real text.

    ```python
    from valkey_doctest.names import Names

    names = Names()
    names.bind("1795473875707-0", "1764000000000-3")
    assert names.to_real("XDEL s 1795473875707-0") == "XDEL s 1764000000000-3"
    assert names.to_documented('"1764000000000-3"') == '"1795473875707-0"'
    ```
    """

    _real: dict[str, str] = field(default_factory=dict)
    _shown: dict[str, str] = field(default_factory=dict)
    _ports: dict[str, str] = field(default_factory=dict)
    _clients: dict[str, str] = field(default_factory=dict)

    def bind(self, documented: str, real: str) -> None:
        """Let ``documented`` stand for ``real`` from now on, both ways.

        Raises:
            NameConflictError: either stands for something else already.
        """
        if self._real.get(documented, real) != real:
            raise NameConflictError(
                f"the page calls {real} {documented}, which already stands for {self._real[documented]}"
            )
        if self._shown.get(real, documented) != documented:
            raise NameConflictError(f"the page calls {real} {documented}, but called it {self._shown[real]} before")
        self._real[documented] = real
        self._shown[real] = documented

    def bind_client_id(self, documented: str, real: str) -> None:
        """Let a client's documented id stand for its real one in ``CLIENT`` commands, and after ``id=`` in replies.

        Raises:
            NameConflictError: either stands for something else already.
        """
        known = self._clients.get(documented, real)
        if known != real or any(documented != one for one, other in self._clients.items() if other == real):
            raise NameConflictError(f"the page calls client {real} {documented}, which it did not before")
        self._clients[documented] = real

    def show(self, real: str, documented: str) -> None:
        """Translate ``real`` where it comes back, but leave ``documented`` alone where it is sent.

        For ports and paths, which could stand in a command as ordinary data.
        """
        self._shown[real] = documented

    def port(self, documented: int, real: int) -> None:
        """Translate a port: where it comes back, and where it is sent as part of an address.

        A bare number could be data. ``127.0.0.1:7001``, ``127.0.0.1 7001`` and ``-p 7001`` are not.
        """
        self.show(str(real), str(documented))
        self._ports[str(documented)] = str(real)

    def to_real(self, text: str) -> str:
        """What a page says, as it must be sent."""
        if self._ports:
            text = _ADDRESS.sub(lambda match: match["before"] + self._ports.get(match["port"], match["port"]), text)
        if self._clients and re.match(r"\s*CLIENT\b", text, re.IGNORECASE):
            text = _CLIENT_IDS.sub(lambda match: match["before"] + self._client_ids(match["ids"]), text)
        return _replace(text, self._real)

    def _client_ids(self, documented: str) -> str:
        return re.sub(r"\d+", lambda match: self._clients.get(match[0], match[0]), documented)

    def arguments_to_real(self, arguments: Sequence[str]) -> list[str]:
        """What a page gives to a program, as the program must get it."""
        return self.to_real("\0".join(arguments)).split("\0") if arguments else []

    def program_to_real(self, text: str) -> str:
        """What a page's program says, as it must be run: its addresses stay, the shim leads them to the servers."""
        return _replace(text, self._real)

    def to_documented(self, text: str) -> str:
        """What came back, as a page would say it."""
        if self._clients:
            shown = {real: documented for documented, real in self._clients.items()}
            text = _SHOWN_CLIENT_ID.sub(lambda match: match["before"] + shown.get(match["id"], match["id"]), text)
        return _replace(text, self._shown)


def _replace(text: str, table: dict[str, str]) -> str:
    if not any(key in text for key in table):
        return text
    return _words(tuple(table)).sub(lambda match: table[match[0]], text)


@lru_cache(maxsize=8)
def _words(keys: tuple[str, ...]) -> re.Pattern[str]:
    # Longest first, and whole words only: valkey-dev is not a part of valkey-dev-2.
    alternatives = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?<!\w-)(?:{alternatives})(?!-?\w)")
