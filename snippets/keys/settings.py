"""Shared settings: many programs change one document, and no change is lost."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import valkey

KEY = "settings:shop"
ATTEMPTS = 100
EDITORS = 8
LONGEST_PAUSE = 0.02  # seconds

Settings = dict[str, Any]
Change = Callable[[Settings], None]


class ConflictError(RuntimeError):
    """Others were faster, again and again."""


def create(client: valkey.Valkey, key: str, settings: Settings) -> bool:
    """Store the first version; False if somebody else has done so before."""
    return client.set(key, json.dumps(settings), nx=True) is True


def text_of(client: valkey.Valkey, key: str) -> str:
    """What is stored, to the letter: IFEQ compares every byte."""
    text: str | None = client.get(key)
    if text is None:
        message = f"no settings under {key}"
        raise LookupError(message)
    return text


def update(client: valkey.Valkey, key: str, change: Change) -> Settings:
    """Read, change, and write, unless the text was changed in the meantime: then again.

    If the connection breaks, nobody knows whether the last write was done. Call it
    again only if the change may be made twice, such as setting a name to a value.
    """
    for attempt in range(ATTEMPTS):
        before = text_of(client, key)
        settings: Settings = json.loads(before)
        change(settings)
        after = json.dumps(settings)
        # KEEPTTL: a plain SET would take the expiry away.
        if client.execute_command("SET", key, after, "IFEQ", before, "KEEPTTL"):
            return settings
        longest = min(LONGEST_PAUSE, 0.001 * 2**attempt)
        time.sleep(random.uniform(0, longest))  # noqa: S311 (chance, no secret)
    message = f"{key} was changed by others {ATTEMPTS} times in a row"
    raise ConflictError(message)


def demonstrate(client: valkey.Valkey) -> Settings:
    """Eight editors at once: each adds a name of its own, all raise one number."""

    def edit(number: int) -> None:
        def change(settings: Settings) -> None:
            settings["edits"] += 1
            settings[f"editor {number}"] = "was here"

        for _ in range(5):
            update(client, KEY, change)

    client.delete(KEY)
    create(client, KEY, {"edits": 0})
    try:
        with ThreadPoolExecutor(EDITORS) as pool:
            list(pool.map(edit, range(EDITORS)))  # raises what was raised in a thread
        settings: Settings = json.loads(text_of(client, KEY))
        return settings
    finally:
        client.delete(KEY)


def main() -> int:
    """Run the demonstration on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            settings = demonstrate(client)
        except valkey.ConnectionError as error:
            print(f"Cannot reach Valkey: {error}", file=sys.stderr)
            return 1
        except valkey.ResponseError as error:
            print(f"SET with IFEQ needs Valkey 8.1: {error}", file=sys.stderr)
            return 1
    print(f"edits: {settings.pop('edits')} of {EDITORS * 5}")
    print(f"editors: {len(settings)} of {EDITORS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
