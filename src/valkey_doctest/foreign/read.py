"""Foreign Markdown to blocks of code, leniently: nothing is refused, and nothing is left out.

Foreign pages follow CommonMark, so markdown-it-py reads them: backticks and tildes, fences in lists and
block quotes, indented code, fences inside longer fences or comments (which are none). Two things that
CommonMark does not know are read as well, because documentation is full of them: shortcodes of Hugo,
Zola and Jekyll that hold a transcript, and front matter.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt

from valkey_doctest.foreign import words

Form = Literal["fence", "indented", "shortcode", "HTML"]

TRANSCRIPT = "transcript"
NO_PROMPT = "no language and no prompt"
SHELL = "shell"
IN_HTML = "HTML"
EMPTY = "empty"

LANGUAGES = frozenset({"valkey-cli", "redis-cli", "valkeycli", "rediscli", "cli", "valkey", "redis"})
"""A fence in one of these is a transcript. Without a prompt in it, every line is a command."""

PLAIN = frozenset({"", "console", "terminal", "text", "txt", "plain", "plaintext", "none", "sh", "bash", "shell"})
"""A fence in one of these is a transcript if it shows a prompt of valkey-cli."""

_SHELLS = frozenset({"console", "terminal", "sh", "bash", "shell", "zsh"})

_HOST = r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9][\w.-]*)"
_ADDRESS = rf"(?:(?:valkey|redis)(?:-cli)? +)?(?P<address>{_HOST}:\d+)"
_WORDS = r"(?:(?:valkey|redis)(?:-cli)?|not connected)"
_STATE = r"(?P<state>(?:\[\d+\])?(?:\(TX\))?)"
_STRONG = re.compile(rf"(?:{_ADDRESS}|{_WORDS}){_STATE}>(?: (?P<command>.*)|$)")
_WEAK = re.compile(r">(?P<state>) (?P<command>.*)$")
_MISTYPED = re.compile(
    r"\s*(?:(?:valkey|redis)(?:-cli)?[ :]+)?"
    r"(?:\d{1,4}(?:[.,:]+\d{1,5}){1,5}|localhost)[:.;, ]*\d{0,5}(?P<state>(?:\[\d+\])?(?:\(TX\))?)"
    r"(?P<mark>[ ]*[>:;]+[ ]*| )(?P<command>\S.*)$"
)
_MISTYPED_WEAK = re.compile(r"(?P<state>)(?:>+|[ ]+>[ ]*)(?P<command>[A-Za-z]\S*.*)$")
_SHELL_LINE = re.compile(r"[$%] \S|\$$")
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n.*?^\1[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_SHORTCODE = re.compile(
    r"[ \t]*(?:\{\{(?P<mark>[<%])-? *(?P<name>[\w-]+)[^}]*?(?<!/)-?[>%]\}\}|\{%-? *(?P<tag>[\w-]+)[^}]*?-?%\})[ \t]*$"
)
_FENCE = re.compile(r"[ \t>]*(?:`{3}|~{3})")
_PRE = re.compile(r"<(?:pre|code)\b", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"\{[:%\s]*\.?(?P<language>[\w+#.-]+)")


@dataclass(frozen=True)
class Exchange:
    """One command that a page shows, with the reply it shows."""

    line: int
    prompt: str
    address: str
    """The address in the prompt, ``localhost`` as ``127.0.0.1``; empty if the prompt has none."""
    state: str
    """What the prompt says of the database and of MULTI, such as ``[1]``."""
    command: str
    reply: tuple[str, ...] = ()
    mistyped: bool = False
    """Whether the prompt is none, but was meant to be one."""
    for_shell: bool = False
    several_lines: bool = False
    """Whether the command goes on over several lines, which valkey-cli cannot be given."""


@dataclass(frozen=True)
class Block:
    """One block of code."""

    line: int
    form: Form
    language: str
    kind: str
    """``transcript``, or what else it is."""
    exchanges: tuple[Exchange, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Page:
    """A page with all its blocks."""

    name: str
    path: Path
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Code:
    """A block's lines, and the page's line of each."""

    line: int
    form: Form
    info: str
    lines: tuple[tuple[int, str], ...]


def read_page(path: Path, name: str) -> Page:
    """Read a page; what is not UTF-8 in it is replaced.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    text = path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff")
    return Page(name, path, tuple(read_text(text)))


def read_text(text: str) -> list[Block]:
    """All blocks of code of a page's text, in order."""
    text = re.sub(r"\r\n?", "\n", text)
    if front := _FRONT_MATTER.match(text):
        text = "\n" * front[0].count("\n") + text[front.end() :]
    shortcodes, text = _shortcodes(text)
    codes = sorted([*shortcodes, *_codes(text)], key=lambda code: code.line)
    return [_block(code) for code in codes]


def _codes(text: str) -> list[_Code]:
    """The blocks that CommonMark knows, and HTML that holds code."""
    codes = []
    for token in MarkdownIt("commonmark").parse(text):
        if not token.map:
            continue
        start = token.map[0] + 1
        content = token.content.removesuffix("\n").split("\n")
        if token.type == "fence":
            codes.append(_Code(start, "fence", token.info.strip(), tuple(enumerate(content, start + 1))))
        elif token.type == "code_block":
            codes.append(_Code(start, "indented", "", tuple(enumerate(content, start))))
        elif token.type == "html_block" and _PRE.search(re.sub(r"<!--.*?-->", "", token.content, flags=re.DOTALL)):
            codes.append(_Code(start, "HTML", "", tuple(enumerate(content, start))))
    return codes


def _shortcodes(text: str) -> tuple[list[_Code], str]:
    """Shortcodes that hold a transcript, and the text without them.

    Only those whose first line is a prompt, and that hold no fence: others are left to CommonMark.
    """
    lines = text.split("\n")
    found = []
    index = 0
    while index < len(lines):
        opening = _SHORTCODE.match(lines[index])
        end = _end(lines, index, opening) if opening else 0
        body = lines[index + 1 : end]
        shown = [line for line in body if line.strip()]
        if not shown or not _prompt(shown[0].lstrip()) or any(_FENCE.match(line) for line in body):
            index += 1
            continue
        found.append(_Code(index + 1, "shortcode", "", tuple(enumerate(body, index + 2))))
        lines[index : end + 1] = [""] * (end + 1 - index)
        index = end + 1
    return found, "\n".join(lines)


def _end(lines: list[str], start: int, opening: re.Match[str]) -> int:
    """The line that closes a shortcode; 0 if none does."""
    if opening["tag"]:
        closing = re.compile(rf"[ \t]*\{{%-? *end{re.escape(opening['tag'])} *-?%\}}")
    else:
        closing = re.compile(rf"[ \t]*\{{\{{[<%]-? */ *{re.escape(opening['name'])} *-?[>%]\}}\}}")
    return next((number for number in range(start + 1, len(lines)) if closing.match(lines[number])), 0)


def _language(info: str) -> str:
    """The language of an info string of any kind: ``bash``, ``{.bash}``, ``bash {title="x"}``, ``bash,ignore``."""
    if found := _ATTRIBUTES.match(info):
        return found["language"].lower()
    return re.split(r"[\s{,:;(\[]", info, maxsplit=1)[0].lower()


def _block(code: _Code) -> Block:
    language = _language(code.info)
    if code.form == "HTML":
        return Block(code.line, code.form, language, IN_HTML)
    text = textwrap.dedent("\n".join(line.expandtabs(4) for _, line in code.lines))
    lines = [(number, line.rstrip()) for (number, _), line in zip(code.lines, text.split("\n"), strict=True)]
    shown = [line for _, line in lines if line]
    if not shown:
        return Block(code.line, code.form, language, EMPTY)
    weak = _prompt(shown[0]) is not None or language in LANGUAGES
    strong = any(_strong(line) for line in shown)
    if language in LANGUAGES or (language in PLAIN and (strong or weak)):
        exchanges = _exchanges(lines, weak=weak)
        if not exchanges and language in LANGUAGES:
            exchanges = _commands(lines)
        if exchanges:
            return Block(code.line, code.form, language, TRANSCRIPT, exchanges)
    if language in _SHELLS or (language in PLAIN and any(_SHELL_LINE.match(line) for line in shown)):
        return Block(code.line, code.form, language, SHELL)
    return Block(code.line, code.form, language, NO_PROMPT if language in PLAIN | LANGUAGES else f"language {language}")


def _strong(line: str) -> re.Match[str] | None:
    """A prompt that names an address, ``valkey`` or ``redis``, with a command after it."""
    found = _STRONG.match(line)
    return found if found and found["command"] and found["command"].strip() else None


def _prompt(line: str) -> re.Match[str] | None:
    """A prompt with a command, also the prompt ``> ``: then the command has to be one."""
    if found := _strong(line):
        return found
    found = _WEAK.match(line)
    said = words.words(found["command"]) if found else []
    return found if said and words.is_name(said[0]) else None


def _mistyped(line: str) -> re.Match[str] | None:
    """What looks as if a prompt had been meant: almost an address, and then the name of a command."""
    for pattern in (_MISTYPED, _MISTYPED_WEAK):
        found = pattern.match(line)
        if found and words.is_name(found["command"].split()[0].upper()):
            return found
    return None


def _exchanges(lines: list[tuple[int, str]], *, weak: bool) -> tuple[Exchange, ...]:
    """The exchanges of a block; what stands before the first prompt belongs to none.

    Args:
        weak: whether ``> `` is a prompt here, whatever follows.
    """
    exchanges: list[Exchange] = []
    for number, line in lines:
        last = exchanges[-1] if exchanges else None
        if last and not last.reply and words.is_open(last.command) and not (_prompt(line) or _mistyped(line)):
            exchanges[-1] = _joined(last, line)
        elif found := _STRONG.match(line) or (_WEAK.match(line) if weak else None):
            if command := words.without_comment((found["command"] or "").strip()):
                exchanges.append(_exchange(number, line, found, command))
            elif last:  # a prompt that waits: the end of what came before
                exchanges[-1] = replace(last, reply=(*last.reply, ""))
        elif last and (found := _mistyped(line)):
            command = words.without_comment(found["command"].strip())
            exchanges.append(replace(_exchange(number, line, found, command), mistyped=True))
        elif last and _SHELL_LINE.match(line):
            exchanges.append(Exchange(number, line[:2], "", "", line[2:], for_shell=True))
        elif last:
            exchanges[-1] = replace(last, reply=(*last.reply, line))
    return tuple(exchanges)


def _exchange(number: int, line: str, found: re.Match[str], command: str) -> Exchange:
    address = (found.groupdict().get("address") or "").replace("localhost", "127.0.0.1")
    prompt = line[: found.start("command")]
    return Exchange(number, prompt, address, found["state"], command)


def _joined(exchange: Exchange, line: str) -> Exchange:
    """A command with its next line."""
    command = f"{exchange.command.removesuffix(chr(92)).rstrip()} {line.strip()}"
    return replace(exchange, command=command, several_lines=True)


def _commands(lines: list[tuple[int, str]]) -> tuple[Exchange, ...]:
    """A fence in a transcript's language that shows commands alone."""
    commands: list[Exchange] = []
    for number, line in lines:
        if commands and words.is_open(commands[-1].command):
            commands[-1] = _joined(commands[-1], line)
        elif line.strip() and not line.lstrip().startswith(("#", "//")):
            commands.append(Exchange(number, "", "", "", words.without_comment(line.strip())))
    return tuple(commands)
