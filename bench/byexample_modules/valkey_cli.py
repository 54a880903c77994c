"""A runner of its own for byexample: ``valkey-cli`` in its pseudo-terminal, as its shell and Ruby runners are."""

from __future__ import annotations

import os
import re
from typing import Any

from byexample.finder import ExampleFinder
from byexample.parser import ExampleParser
from byexample.runner import ExampleRunner, PexpectMixin

stability = "experimental"

_PROMPT = r"127\.0\.0\.1:\d+(?:\[\d+\])?>[ ]"


class ValkeyCliFinder(ExampleFinder):  # type: ignore[misc]
    """Commands after the prompt, and the lines up to the next one."""

    target = "valkey-cli-prompt"
    _regex = re.compile(
        rf"(?P<snippet>^(?P<indent>[ ]*){_PROMPT}.*)\n?(?P<expected>(?:(?![ ]*$)(?![ ]*{_PROMPT}).+$\n?)*)",
        re.MULTILINE,
    )

    def example_regex(self) -> re.Pattern[str]:
        """See byexample."""
        return self._regex

    def get_language_of(self, *_args: Any, **_options: Any) -> str:
        """See byexample."""
        return "valkey-cli"

    def get_snippet_and_expected(self, match: re.Match[str], where: Any) -> tuple[str, str]:
        """See byexample."""
        snippet, expected = ExampleFinder.get_snippet_and_expected(self, match, where)
        return re.sub(rf"^{_PROMPT}", "", snippet), expected


class ValkeyCliParser(ExampleParser):  # type: ignore[misc]
    """No options."""

    language = "valkey-cli"
    _regex = re.compile(r"#\s*byexample:\s*([^\n'\"]*)$", re.MULTILINE)

    def example_options_string_regex(self) -> re.Pattern[str]:
        """See byexample."""
        return self._regex

    def extend_option_parser(self, parser: Any) -> None:
        """See byexample."""


class ValkeyCliRunner(ExampleRunner, PexpectMixin):  # type: ignore[misc]
    """One ``valkey-cli`` a file."""

    language = "valkey-cli"

    def __init__(self, **options: Any) -> None:
        ExampleRunner.__init__(self, **options)
        PexpectMixin.__init__(self, PS1_re=_PROMPT, any_PS_re=_PROMPT)

    def get_default_cmd(self, *_args: Any, **_options: Any) -> tuple[str, dict[str, Any]]:
        """See byexample."""
        return "%e %p %a", {"e": "/usr/bin/env", "p": os.environ["VALKEY_CLI"], "a": ["-p", os.environ["VALKEY_PORT"]]}

    def initialize(self, options: Any) -> None:
        """See byexample."""
        self._spawn_interpreter(self.build_cmd(options, *self.get_default_cmd()), options)

    def run(self, example: Any, options: Any) -> str:
        """See byexample."""
        return str(PexpectMixin._run(self, example, options))  # noqa: SLF001

    def _run_impl(self, example: Any, options: Any) -> Any:
        return self._exec_and_wait(example.source, options, from_example=example)

    def shutdown(self) -> None:
        """See byexample."""
        self._shutdown_interpreter()

    def cancel(self, example: Any, options: Any) -> Any:
        """See byexample."""
        return self._abort(example, options)
