"""The Valkey client shows a page's programs the ports that the page shows.

Embedded servers of a deployment tell each other, and clients, where they really listen. Transcripts have
that translated; so a program that compares ports, such as ``address != ("127.0.0.1", 6379)``, has to as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import valkey.asyncio.connection
import valkey.connection
from valkey.exceptions import ResponseError

_BUS_OFFSET = 10_000


class _Translation:
    """Documented ports and real ones.

    Args:
        ports: documented to real.
        here: how programs call this machine.
    """

    def __init__(self, ports: Mapping[int, int], here: frozenset[str]) -> None:
        self._ports = ports
        self._here = here
        self._shown = {real: documented for documented, real in ports.items()}
        self._shown |= {real + _BUS_OFFSET: documented + _BUS_OFFSET for documented, real in ports.items()}
        # Whole words only, as in transcripts.
        self._word = re.compile(rf"(?<!\w)(?<!\w-)(?:{'|'.join(map(str, self._shown))})(?!-?\w)")

    def documented(self, value: Any) -> Any:  # noqa: PLR0911  a case, a return
        """What came back, as a page would say it."""
        match value:
            case bytes():
                return self._text(value.decode("latin-1")).encode("latin-1")
            case str():
                return self._text(value)
            case bool():
                return value
            case int():
                return self._shown.get(value, value)
            case list():
                return [self.documented(each) for each in value]
            case dict():
                return {self.documented(key): self.documented(each) for key, each in value.items()}
            case ResponseError() if self._word.search(str(value)):
                return type(value)(self._text(str(value)))
        return value

    def _text(self, text: str) -> str:
        return self._word.sub(lambda found: str(self._shown[int(found[0])]), text)

    def real(self, command: tuple[Any, ...]) -> list[Any]:
        """A command in which the ports after an address are real."""
        words = list(command)
        for index, (before, word) in enumerate(pairwise(command), 1):
            if str(before) in self._here and str(word).isdecimal():
                words[index] = self._ports.get(int(word), word)
        return words


def install(ports: Mapping[int, int], here: frozenset[str]) -> None:
    """Translate what the client sends and gets, documented to real and back."""
    translation = _Translation(ports, here)
    now: Any = valkey.connection.AbstractConnection
    later: Any = valkey.asyncio.connection.AbstractConnection
    send, read, pack, read_later = now.send_command, now.read_response, later.pack_command, later.read_response

    def read_response(*arguments: Any, **options: Any) -> Any:
        try:
            return translation.documented(read(*arguments, **options))
        except ResponseError as error:
            raise translation.documented(error) from None

    async def read_response_later(*arguments: Any, **options: Any) -> Any:
        try:
            return translation.documented(await read_later(*arguments, **options))
        except ResponseError as error:
            raise translation.documented(error) from None

    now.send_command = lambda self, *command, **options: send(self, *translation.real(command), **options)
    later.pack_command = lambda self, *command: pack(self, *translation.real(command))
    now.read_response, later.read_response = read_response, read_response_later
