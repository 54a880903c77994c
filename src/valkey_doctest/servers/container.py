"""Servers in containers: the image ``valkey/valkey``, as learners run it."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import ADDRESS, DOCUMENTED_PORT, ServerError, free_port, last_lines, wait_until_ready

IMAGE = "valkey/valkey"
PULL_SECONDS = 600.0

# Our own reaper also ends containers after a kill, without a second container to do it.
testcontainers_config.ryuk_disabled = True


@functools.cache
def engine_problem() -> str | None:
    """Why no Docker engine can be used here, or ``None`` if one answers."""
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except (docker.errors.DockerException, OSError) as error:
        return f"no Docker engine answers ({str(error).splitlines()[0]})"
    return None


def local_versions(repository: str) -> list[str]:
    """The versions, such as ``9.1``, of which this engine has the image already, oldest first."""
    if engine_problem():
        return []
    client = docker.from_env()
    try:
        tags = [tag for image in client.images.list(name=repository) for tag in image.tags]
    finally:
        client.close()
    found = {match[1] for tag in tags if (match := re.fullmatch(rf"{re.escape(repository)}:(\d+\.\d+)", tag))}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


@dataclass
class ContainerProvider:
    """Servers of one version, in containers."""

    tag: str
    """The image's tag, such as ``9.1``."""
    reaper: Reaper
    repository: str = IMAGE
    name: str = "container"
    echoes: bool = True

    @property
    def image(self) -> str:
        """The image its servers run."""
        return f"{self.repository}:{self.tag}"

    @functools.cached_property
    def version(self) -> str:
        """See :class:`valkey_doctest.servers.Provider`; pulls the image if it is not here yet.

        Raises:
            ServerError: there is no such image.
        """
        said = _docker("run", "--rm", self.image, "valkey-server", "--version", seconds=PULL_SECONDS)
        found = re.search(r"v=(\d+\.\d+\.\d+)", said)
        if not found:
            raise ServerError(f"the image {self.image} does not say its version: {said.strip()}")
        return found[1]

    def start(self, name: str, arguments: Sequence[str] = ()) -> ContainerServer:
        """See :class:`valkey_doctest.servers.Provider`."""
        port = free_port()
        container = DockerContainer(self.image).with_name(name)
        # with_bind_ports() would bind every interface; Docker's own library takes an address as well.
        ports: dict[str, Any] = container.ports
        ports[f"{DOCUMENTED_PORT}/tcp"] = (ADDRESS, port)
        if arguments:
            container = container.with_command(list(arguments))
        self.reaper.add("container", name)
        try:
            container.start()
        except (docker.errors.DockerException, OSError) as error:
            raise ServerError(f"the image {self.image} did not start: {error}") from None
        return self.attach(name, port)

    def attach(self, name: str, port: int = 0) -> ContainerServer:
        """The server in a container that runs already; ``port`` is 0 if it is not published.

        Raises:
            ServerError: it does not answer.
        """
        server = ContainerServer(name, port, self.version, self.reaper)
        wait_until_ready(server)
        return server


class ContainerServer:
    """A ``valkey-server`` in a container, reached through a loopback port."""

    folder = "/data"

    def __init__(self, name: str, port: int, version: str, reaper: Reaper) -> None:
        self.name = name
        self.port = port
        self.version = version
        self._reaper = reaper

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:
        """See :class:`valkey_doctest.servers.Server`."""
        options = ["--interactive", "--tty", "--env", "TERM=dumb"] if terminal else []
        return ["docker", "exec", *options, self.name, "valkey-cli", *arguments]

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`; asked inside, as the image may refuse others (protected mode)."""
        try:
            return _docker("exec", self.name, "valkey-cli", "PING").strip() == "PONG"
        except ServerError:
            return False

    def why_gone(self) -> str | None:
        """See :class:`valkey_doctest.servers.Server`."""
        try:
            state = _docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name).split()
            if state[0] in ("running", "created", "restarting"):
                return None
            log = _docker("logs", "--tail", "5", self.name)
        except ServerError as error:
            return str(error)
        return f"the container {self.name} {state[0]} with exit status {state[1]}. Its last words:\n" + last_lines(log)

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Server`."""
        _docker("rm", "--force", "--volumes", self.name)
        self._reaper.drop("container", self.name)


def _docker(*arguments: str, seconds: float = 60) -> str:
    """What a ``docker`` command says.

    Raises:
        ServerError: it fails, or takes too long.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"`docker {' '.join(arguments)}`: {error}") from None
    if done.returncode:
        raise ServerError(f"`docker {' '.join(arguments)}`: {done.stdout.strip()}")
    return done.stdout
