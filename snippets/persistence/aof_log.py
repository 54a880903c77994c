"""Read an append-only file: list its commands, and take the last one back."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class DamagedLogError(ValueError):
    """The file cannot be read any further."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"{why} at byte {offset}")
        self.offset = offset


class Entry(NamedTuple):
    """One command of the log."""

    offset: int
    """At which byte of the file it begins."""
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The command, in capitals."""
        return self.words[0].upper()


def entries(log: bytes) -> Iterator[Entry]:
    """The commands in an incremental AOF, in the order they were run.

    Raises:
        DamagedLogError: what follows is no complete command.
    """
    place = 0

    def number(kind: bytes) -> int:
        nonlocal place
        end = log.find(b"\r\n", place)
        line = log[place:end]
        if end < 0:
            raise DamagedLogError(place, "the file ends")
        if line[:1] != kind or not line[1:].isdigit():
            raise DamagedLogError(place, f"no {kind.decode()} and a number")
        place = end + 2
        return int(line[1:])

    while place < len(log):
        if log[place : place + 1] == b"#":  # a remark, such as the time
            place = log.find(b"\n", place) + 1 or len(log)
            continue
        start, words = place, []
        for _ in range(number(b"*")):
            length = number(b"$")
            word, place = log[place : place + length], place + length + 2
            if place > len(log):
                raise DamagedLogError(start, "a command is cut off")
            if log[place - 2 : place] != b"\r\n":
                raise DamagedLogError(start, "a length is wrong")
            words.append(word.decode(errors="replace"))
        if not words:
            raise DamagedLogError(start, "an empty command")
        yield Entry(start, tuple(words))


def take_back(path: Path, name: str) -> Entry:
    """Cut the last command off the file, which has to be of this name.

    Raises:
        DamagedLogError: the file is damaged; it is left as it is.
        LookupError: the last command is another one, or there is none.
    """
    found = deque(entries(path.read_bytes()), maxlen=1)
    last = found.pop() if found else None
    if last is None or last.name != name.upper():
        raise LookupError(f"the last command is {last.name if last else 'missing'}")
    os.truncate(path, last.offset)
    return last


def main(arguments: list[str]) -> int:
    """``FILE`` lists the commands, ``FILE NAME`` takes the last back if it is NAME."""
    if len(arguments) not in (1, 2):
        print("usage: aof_log.py FILE [NAME]", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        if len(arguments) == 1:
            for entry in entries(path.read_bytes()):
                print(f"{entry.offset:5}  {' '.join(entry.words)}")
        else:
            print("taken back:", *take_back(path, arguments[1]).words)
    except (OSError, DamagedLogError, LookupError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
