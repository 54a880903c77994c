"""A link shortener: five commands and a real job."""

from __future__ import annotations

import sys

import valkey

# Nothing that looks like something else; without vowels there are no words.
DIGITS = "23456789bcdfghjkmnpqrstvwxyz"


class UnknownLinkError(LookupError):
    """There is no link with this code."""


def encode(number: int) -> str:
    """A positive number as a short code."""
    code = ""
    while number:
        number, rest = divmod(number, len(DIGITS))
        code = DIGITS[rest] + code
    return code


def shorten(client: valkey.Valkey, address: str) -> str:
    """Keep the address and return its code; no two calls get the same one."""
    if not address.startswith(("http://", "https://")):
        message = f"not a web address: {address}"
        raise ValueError(message)
    code = encode(client.incr("links:number"))
    client.set(f"link:{code}:address", address)
    return code


def follow(client: valkey.Valkey, code: str) -> str:
    """The address behind a code; counts the visit."""
    address = client.get(f"link:{code}:address")
    if address is None:
        raise UnknownLinkError(code)
    client.incr(f"link:{code}:visits")
    return address


def visits(client: valkey.Valkey, code: str) -> int:
    """How often a link was followed."""
    return int(client.get(f"link:{code}:visits") or 0)


def forget(client: valkey.Valkey, code: str) -> bool:
    """Remove a link and its counter; say whether there was one."""
    existed = client.exists(f"link:{code}:address") == 1
    client.delete(f"link:{code}:address", f"link:{code}:visits")
    return existed


def demonstrate(client: valkey.Valkey) -> None:
    """Shorten a link, follow it, forget it."""
    code = shorten(client, "https://valkey.io/commands/")
    print(f"{code} leads to {follow(client, code)}")
    follow(client, code)
    print(f"{code} was followed {visits(client, code)} times")
    print(f"{code} forgotten: {forget(client, code)}")
    try:
        follow(client, code)
    except UnknownLinkError as error:
        print(f"{error} leads nowhere")


def main() -> int:
    """Run the demonstration on the training server; return the exit status."""
    client = valkey.Valkey(host="127.0.0.1", port=6379, decode_responses=True)
    with client:
        try:
            demonstrate(client)
        except valkey.ConnectionError:
            cure = "Start it with: docker compose up -d --wait"
            print(f"Valkey does not answer. {cure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
