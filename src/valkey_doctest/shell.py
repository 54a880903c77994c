"""What runs ``console`` fences: shell commands, and Docker's as far as the provider goes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from valkey_doctest import docker_commands
from valkey_doctest.docker_commands import Action
from valkey_doctest.edits import Edit
from valkey_doctest.fences import Fence, FenceError
from valkey_doctest.markers import Line
from valkey_doctest.matching import compare
from valkey_doctest.servers import ADDRESS, DOCUMENTED_PORT, deployments, free_port, wait_until_ready
from valkey_doctest.servers.container import ContainerProvider, ContainerServer
from valkey_doctest.servers.embedded import EmbeddedServer
from valkey_doctest.session import DEFAULT_SERVER, NEEDS_OWN_SERVER, PROGRAM_FACTOR, Failure, Session, Skip
from valkey_doctest.steps import LEGEND, indent, make_edits, output_lines, read_lines
from valkey_doctest.terminal import TerminalError

LANGUAGES = ("console",)

NEEDS_DOCKER = "needs Docker"

# The page's Compose file runs as it is, under names of this run: Compose itself merges this into it.
_OVERRIDE = """\
services:
  valkey:
    image: {image}:${{VALKEY_VERSION:-{version}}}
    container_name: {name}
    ports: !override
      - "{address}:{port}:{documented}"
"""


class ShellCommand(NamedTuple):
    """One command with the standard output that the page shows."""

    line: int
    text: str
    output: tuple[Line, ...]
    after: int
    """The page's line on which its output begins."""
    action: Action | None


def parse(fence: Fence) -> tuple[ShellCommand, ...]:
    """The commands of a fence: ``$ `` begins one, ``> `` continues one whose line ends in a backslash.

    Raises:
        FenceError: it does not begin with ``$ ``, or a marker is wrong.
    """
    commands: list[ShellCommand] = []
    lines = fence.text.split("\n")
    index = 0
    while index < len(lines):
        if not lines[index].startswith("$ "):
            raise FenceError(
                fence.page, fence.body_line(index), f"a shell command begins with `$ `, not with `{lines[index]}`."
            )
        start, text = index, lines[index][2:]
        index += 1
        while text.endswith("\\") and index < len(lines) and lines[index].startswith("> "):
            text = text[:-1] + lines[index][2:]
            index += 1
        end = index
        while end < len(lines) and not lines[end].startswith("$ "):
            end += 1
        output = read_lines(fence, index, lines[index:end])
        after = fence.body_line(index)
        commands.append(ShellCommand(fence.body_line(start), text.rstrip(), output, after, docker_commands.parse(text)))
        index = end
    return tuple(commands)


class ConsoleStep:
    """A ``console`` fence."""

    lane = "console"

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self.shell_commands = parse(fence)
        self.exchanges = len(self.shell_commands)
        for command in self.shell_commands:
            if command.text.startswith("docker rm ") and command.action is None:
                raise FenceError(
                    fence.page, command.line, "write `docker rm -fv NAME`: without `v` the container's volume stays."
                )
        sent = [
            c.action.arguments[0].upper()
            for c in self.shell_commands
            if c.action and c.action.verb == "exec" and c.action.arguments
        ]
        self.commands = tuple(dict.fromkeys(sent))

    @property
    def stops_server(self) -> bool:
        """Whether it does more to the page's server than ask it: then the page cannot run on one that is lent to us."""
        actions = [command.action for command in self.shell_commands if command.action]
        return any(action.name == DEFAULT_SERVER and action.verb not in ("open", "exec") for action in actions)

    def run(self, session: Session) -> None:
        """See :class:`valkey_doctest.steps.Step`."""
        if not session.has_docker and any(
            docker_commands.mentions_docker(c.text) and c.action is None for c in self.shell_commands
        ):
            raise Skip(NEEDS_DOCKER)
        names = {command.action.name for command in self.shell_commands if command.action}
        if not session.owns_servers and names - {DEFAULT_SERVER}:
            raise Skip(NEEDS_OWN_SERVER)
        differences = []
        edits: list[Edit] = []
        for command in self.shell_commands:
            output = self._run(command, session)
            if difference := compare(command.output, output_lines(output), session.names):
                differences.append((command, difference))
                edits += make_edits(self.fence, command.after, command.output, output_lines(output), session)
        if differences:
            blocks = [indent(f"  $ {command.text}\n{text}") for command, text in differences]
            what = "the output differs" if len(blocks) == 1 else f"{len(blocks)} outputs differ"
            raise Failure(differences[0][0].line, f"{what}.\n{'    …'.join(blocks)}{LEGEND}", breaks=False, edits=edits)

    def _run(self, command: ShellCommand, session: Session) -> str:
        """What a command prints."""
        action = command.action
        try:
            if action and action.verb in ("open", "exec"):
                _check_port(command, action, session)
            if action and action.verb == "open":
                session.open_terminal(self.fence.title or "", session.server(action.name), action.arguments)
                return ""
            if action and session.counting:
                session.counting.act(action.name, action.verb, session.servers)
            if action and session.has_docker:
                return self._in_docker(command, action, session)
            if action:
                return self._on_processes(command, action, session)
            if re.match(r"docker compose\b", command.text):
                return self._compose(command, session)
            return self._shell(command, session.names.to_real(command.text), session)
        except TerminalError as error:
            raise Failure(command.line, f"valkey-cli does not come to a prompt.\n{indent(str(error))}") from None

    def _in_docker(self, command: ShellCommand, action: Action, session: Session) -> str:
        """Run the Docker command itself, then wait until the server it started says that it is ready."""
        provider = session.provider
        assert isinstance(provider, ContainerProvider)
        text = re.sub(r"valkey/valkey:\d+\.\d+", provider.image, command.text)
        if action.verb == "run":
            name = session.real_name(action.name)
            session.reaper.add("container", name)
            output = self._shell(command, session.names.to_real(text), session)
            session.servers[action.name] = provider.attach(name)
            return output
        server = session.server(action.name)
        assert isinstance(server, ContainerServer)
        output = self._shell(command, session.names.to_real(text), session)
        if action.verb in ("stop", "kill", "restart", "rm"):
            server.is_stopped = True
            session.close_terminals(server)
        if action.verb in ("start", "restart", "unpause"):
            server.is_stopped = False
            wait_until_ready(server)
            deployments.settle(session.deployment, session.servers.values())
        if action.verb == "rm":
            del session.servers[action.name]
            session.reaper.drop("container", session.names.to_real(action.name))
        return output

    def _on_processes(self, command: ShellCommand, action: Action, session: Session) -> str:
        """Do to an embedded server's process what Docker does to a container."""
        if action.verb == "run":
            session.start_server(action.name, action.arguments)
            return secrets.token_hex(32)
        server = session.server(action.name)
        if action.verb == "exec":
            real = session.names.arguments_to_real(action.arguments)
            return self._process(command, server.cli(real, terminal=False), session, file=action.input)
        assert isinstance(server, EmbeddedServer)
        if action.verb == "inside":
            return self._process(
                command,
                server.real_paths(action.arguments),
                session,
                server.environment(),
                file=action.input,
                cwd=server.folder,
            )
        if action.verb == "copy":
            return _copy(command, action, server, session)
        if action.verb in ("kill", "pause", "unpause") and not server.runs:
            raise Failure(command.line, f"`{command.text}`: the server does not run.")
        _act(server, action.verb)
        if action.verb in ("stop", "kill", "restart", "rm"):
            session.close_terminals(server)
        if action.verb in ("start", "restart", "unpause"):
            deployments.settle(session.deployment, session.servers.values())
        if action.verb == "rm":
            del session.servers[action.name]
        return action.name

    def _compose(self, command: ShellCommand, session: Session) -> str:
        """Run Docker Compose on the page's own file, under names of this run."""
        provider = session.provider
        assert isinstance(provider, ContainerProvider)
        project = f"valkey-training-{session.token}"
        override = session.home / "override.yml"
        port_file = session.home / "port"
        if not override.exists():
            session.reaper.add("project", project)
            port = free_port()
            port_file.write_text(str(port))
            session.names.show(str(port), str(DOCUMENTED_PORT))
            override.write_text(
                _OVERRIDE.format(
                    image=provider.repository,
                    version=provider.tag,
                    name=session.real_name(DEFAULT_SERVER),
                    address=ADDRESS,
                    port=port,
                    documented=DOCUMENTED_PORT,
                )
            )
        if server := session.servers.pop(DEFAULT_SERVER, None):
            session.close_terminals(server)
        session.names.show(provider.image, _documented_image(session.folder) or provider.image)
        environment = {"COMPOSE_PROJECT_NAME": project, "COMPOSE_FILE": f"docker-compose.yml{os.pathsep}{override}"}
        output = self._shell(command, command.text, session, environment)
        if re.search(r"\b(up|start|restart)\b", command.text):
            session.servers[DEFAULT_SERVER] = provider.attach(
                session.names.to_real(DEFAULT_SERVER), int(port_file.read_text())
            )
        return output

    def _shell(
        self, command: ShellCommand, text: str, session: Session, environment: dict[str, str] | None = None
    ) -> str:
        where = session.home / "where"
        script = f"{text}\nstatus=$?\npwd >{where}\nexit $status\n"
        output = self._process(command, ["/bin/sh", "-c", script], session, environment)
        if where.exists():
            session.folder = Path(where.read_text().rstrip("\n"))
        return output

    def _process(  # noqa: PLR0913  a command and where it runs
        self,
        command: ShellCommand,
        argv: list[str],
        session: Session,
        environment: dict[str, str] | None = None,
        *,
        file: str | None = None,
        cwd: str | Path | None = None,
    ) -> str:
        deadline = session.deadline * PROGRAM_FACTOR
        try:
            given = (session.folder / file).open("rb") if file else subprocess.DEVNULL
        except OSError as error:
            raise Failure(command.line, f"`{command.text}`: {error.strerror}: {file}.") from None
        process = subprocess.Popen(
            argv,
            cwd=cwd or session.folder,
            env={**session.environment(), **(environment or {})},
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        if not isinstance(given, int):
            given.close()  # the process has its own
        session.reaper.add("process", process.pid)
        try:
            output, errors = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise Failure(
                command.line, f"`{command.text}` did not end within {deadline:g} s, and was stopped."
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            session.reaper.drop("process", process.pid)
        if process.returncode:
            raise Failure(
                command.line,
                f"`{command.text}` ended with exit status {process.returncode}.\n{indent(output + errors)}",
            )
        return output


def _copy(command: ShellCommand, action: Action, server: EmbeddedServer, session: Session) -> str:
    """Copy a file out of a server's data folder, or into it."""
    inside = [":" in each for each in action.arguments]
    source, target = (
        Path(server.real_paths([each.partition(":")[2]])[0]) if is_inside else session.folder / each
        for each, is_inside in zip(action.arguments, inside, strict=True)
    )
    try:
        if source.is_dir():
            shutil.copytree(source, target / source.name if target.is_dir() else target)
        else:
            shutil.copy(source, target)
    except OSError as error:
        raise Failure(command.line, f"`{command.text}`: {error.strerror}: {error.filename}.") from None
    return ""


def _act(server: EmbeddedServer, verb: docker_commands.Verb) -> None:
    """Do to a process what the Docker command does to the container's."""
    if verb in ("stop", "restart"):
        server.stop()
    if verb in ("start", "restart"):
        server.start()
    if verb == "kill":
        server.kill()
    if verb == "pause":
        server.pause()
    if verb == "unpause":
        server.unpause()
    if verb == "rm":
        server.remove()


def _check_port(command: ShellCommand, action: Action, session: Session) -> None:
    """A ``valkey-cli`` that is not told where to ask would reach another server, or none."""
    port = session.server(action.name).documented_port
    if port != DOCUMENTED_PORT and not {"-p", "--cluster"} & {*action.arguments}:
        raise Failure(
            command.line,
            f"`{command.text}` asks at port {DOCUMENTED_PORT}, where {action.name} does not listen: add `-p {port}`.",
        )


def _documented_image(folder: Path) -> str | None:
    """The image that the page's Compose file asks for, unless ``.env`` names one: then that is the real one."""
    file, settings = folder / "docker-compose.yml", folder / ".env"
    if settings.exists() and "VALKEY_VERSION=" in settings.read_text("utf-8"):
        return None
    found = re.search(
        r"valkey/valkey:\$\{VALKEY_VERSION:-(\d+\.\d+)\}", file.read_text("utf-8") if file.exists() else ""
    )
    return f"valkey/valkey:{found[1]}" if found else None
