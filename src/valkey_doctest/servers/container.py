"""Servers in containers: the image ``valkey/valkey``, as learners run it."""

from __future__ import annotations

import functools
import gc
import io
import re
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from valkey_doctest.reaper import Reaper
from valkey_doctest.servers import (
    ADDRESS,
    DOCUMENTED_PORT,
    Member,
    PortTakenError,
    Server,
    ServerError,
    free_port,
    free_ports,
    last_lines,
    ping,
    wait_until_ready,
)

IMAGE = "valkey/valkey"
PULL_SECONDS = 600.0
_SENTINEL_FILE = "/data/sentinel.conf"


@functools.cache
def engine_problem() -> str | None:
    """Why no Docker engine can be used here, or ``None`` if one answers."""
    import docker.errors  # noqa: PLC0415  a run without containers starts without it

    with warnings.catch_warnings():
        # The library forgets to close its socket when nobody answers, and the warning comes whenever it is freed.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=5)
            try:
                client.ping()
            finally:
                client.close()
        except (docker.errors.DockerException, OSError) as error:
            problem = f"no Docker engine answers ({str(error).splitlines()[0]})"
        else:
            return None
        gc.collect()
    return problem


def local_versions(repository: str) -> list[str]:
    """The versions, such as ``9.1``, of which this engine has the image already, oldest first."""
    if engine_problem():
        return []
    import docker  # noqa: PLC0415

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
    fresh: bool = True

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

    def expect(self, pages: int) -> None:
        """See :class:`valkey_doctest.servers.Provider`."""

    def start(self, name: str, arguments: Sequence[str] = ()) -> ContainerServer:
        """See :class:`valkey_doctest.servers.Provider`."""
        import docker.errors  # noqa: PLC0415
        from testcontainers.core.config import testcontainers_config  # noqa: PLC0415
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        # Our own reaper also ends containers after a kill, without a second container to do it.
        testcontainers_config.ryuk_disabled = True
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

    def network(self, name: str, ports: Sequence[int]) -> ContainerNetwork:
        """See :class:`valkey_doctest.servers.Provider`."""
        return ContainerNetwork(self, name, ports)


class ContainerNetwork:
    """Containers that share one network of their own, in which servers have their documented ports.

    A container that does nothing else holds the network, so that any server can be killed. It runs
    Valkey too, on no port: there need not be a shell or a ``sleep`` in the image.
    """

    _HOLDER = ("valkey-server", "--port", "0", "--unixsocket", "holder.sock")

    def __init__(self, provider: ContainerProvider, name: str, ports: Sequence[int]) -> None:
        self._provider = provider
        self._name = name
        self._containers: list[str] = []
        self.ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        published = [f"--publish={ADDRESS}:{real}:{port}" for port, real in self.ports.items()]
        try:
            self._run({name: [*published, provider.image, *self._HOLDER]})
        except ServerError:
            self.remove()
            raise

    def inside(self, port: int) -> int:
        """See :class:`valkey_doctest.servers.Network`."""
        return port

    def start(self, members: Sequence[Member]) -> list[Server]:
        """See :class:`valkey_doctest.servers.Network`."""
        self._run({member.name: self._command(member) for member in members if not member.configuration})
        sentinels = [member for member in members if member.configuration]
        for member in sentinels:
            self._add(member.name)
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor() as pool:
            list(pool.map(self._start_sentinel, sentinels))
        servers = [
            MemberServer(each.name, self.ports[each.port], self._provider.version, self._provider.reaper, each.port)
            for each in members
        ]
        for server in servers:
            wait_until_ready(server)
        return [*servers]

    def _command(self, member: Member) -> list[str]:
        sentinel = [_SENTINEL_FILE, "--sentinel"] if member.configuration else []
        server = ["valkey-server", *sentinel, "--port", str(member.port), "--protected-mode", "no", *member.arguments]
        return [f"--network=container:{self._name}", self._provider.image, *server]

    def _run(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Run a container for each name, all at once."""
        for name in commands:
            self._add(name)
        started = [
            subprocess.Popen(
                ["docker", "run", "--detach", f"--name={name}", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C does not reach it: what it starts is there to be removed
            )
            for name, command in commands.items()
        ]
        try:
            said = [process.communicate()[0].strip() for process in started]
        finally:
            for process in started:
                process.wait()
        for process, text in zip(started, said, strict=True):
            if process.returncode:
                kind = PortTakenError if re.search("already (allocated|in use)", text) else ServerError
                raise kind(f"the image {self._provider.image} did not start: {text}")

    def _start_sentinel(self, member: Member) -> None:
        """It rewrites its file, so that has to be inside before it starts."""
        import tarfile  # noqa: PLC0415

        _docker("create", f"--name={member.name}", *self._command(member))
        text = "\n".join(member.configuration).encode() + b"\n"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            info = tarfile.TarInfo(PurePosixPath(_SENTINEL_FILE).name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        _docker("cp", "-", f"{member.name}:{PurePosixPath(_SENTINEL_FILE).parent}", data=packed.getvalue())
        _docker("start", member.name)

    def _add(self, name: str) -> None:
        self._provider.reaper.add("container", name)
        self._containers.append(name)

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Network`; what Docker does not remove is left to the reaper."""
        with suppress(ServerError):
            _docker("rm", "--force", "--volumes", *reversed(self._containers))
            for name in self._containers:
                self._provider.reaper.drop("container", name)


class ContainerServer:
    """A ``valkey-server`` in a container, reached through a loopback port."""

    folder = "/data"

    def __init__(
        self, name: str, port: int, version: str, reaper: Reaper, documented_port: int = DOCUMENTED_PORT
    ) -> None:
        self.name = name
        self.port = port
        self.version = version
        self.documented_port = documented_port
        self.is_stopped = False
        """Whether the page itself ended it."""
        self._reaper = reaper

    def cli(self, arguments: Sequence[str] = (), *, terminal: bool) -> list[str]:
        """See :class:`valkey_doctest.servers.Server`."""
        options = ["--interactive", "--tty", "--env", "TERM=dumb"] if terminal else []
        if "-p" not in arguments and self.documented_port != DOCUMENTED_PORT:
            arguments = ["-p", str(self.documented_port), *arguments]
        return ["docker", "exec", *options, self.name, "valkey-cli", *arguments]

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`; asked inside, as the image may refuse others (protected mode)."""
        try:
            return _docker("exec", self.name, "valkey-cli", "PING").strip() == "PONG"
        except ServerError:
            return False

    def why_gone(self) -> str | None:
        """See :class:`valkey_doctest.servers.Server`."""
        if self.is_stopped:
            return None
        try:
            state = _docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name).split()
            if state[0] in ("running", "created", "restarting", "paused"):
                return None
            log = _docker("logs", "--tail", "5", self.name)
        except ServerError as error:
            return str(error)
        return f"the container {self.name} {state[0]} with exit status {state[1]}. Its last words:\n" + last_lines(log)

    def remove(self) -> None:
        """See :class:`valkey_doctest.servers.Server`; what Docker does not remove is left to the reaper."""
        with suppress(ServerError):
            _docker("rm", "--force", "--volumes", self.name)
            self._reaper.drop("container", self.name)


class MemberServer(ContainerServer):
    """One of a deployment: every client may ask it, which is quicker than asking inside."""

    def answers(self) -> bool:
        """See :class:`valkey_doctest.servers.Server`."""
        return ping(self.port)


def _docker(*arguments: str, seconds: float = 60, data: bytes = b"") -> str:
    """What a ``docker`` command says; it reads ``data``.

    Raises:
        ServerError: it fails, or takes too long.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"`docker {' '.join(arguments)}`: {error}") from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise ServerError(f"`docker {' '.join(arguments)}`: {said.strip()}")
    return said
