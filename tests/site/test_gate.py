"""Nothing is published that was not run as it stands, however quiet the build."""

from __future__ import annotations

import os
from pathlib import Path

import markdown
import pytest
from bs4 import BeautifulSoup
from mkdocs.config import load_config
from pymdownx.superfences import SuperFencesException
from sample_site import PAGES, Project

from valkey_doctest import fences, record
from valkey_doctest.site import gate

INDEX = PAGES[0]


def edit(project: Project, old: str, new: str, page: str = INDEX) -> None:
    path = project.root / page
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def line_of(project: Project, text: str, page: str = INDEX) -> int:
    return (project.root / page).read_text("utf-8").split("\n").index(text) + 1


def test_an_edited_fence_is_refused_and_named(project: Project) -> None:
    edit(project, "(integer) 1\n", "(integer) 2\n")
    done = project.build()
    assert done.returncode != 0
    line = line_of(project, "    127.0.0.1:6379> INCR counter") - 1
    assert f"{INDEX}:{line}: `valkey-cli` fence beginning `127.0.0.1:6379> INCR counter`" in done.stderr
    assert f"`pytest {INDEX}`" in done.stderr


def test_one_edit_is_one_report(project: Project) -> None:
    edit(project, "PONG\n    ```\n\n    ???", "PANG\n    ```\n\n    ???")
    done = project.build()
    assert done.stderr.count("fence beginning") == 1
    assert "more after it wait for this one" in done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('title="Terminal 2"', 'title="Terminal 3"'),  # another session
        ('since="9.0"}\n', 'since="9.1"}\n'),
        ('{skip="needs Docker"}', '{skip="no time"}'),
    ],
)
def test_attributes_are_part_of_a_fence(project: Project, old: str, new: str) -> None:
    edit(project, old, new)
    assert project.build().returncode != 0


@pytest.mark.parametrize(("old", "new"), [('since: "9.0"', 'since: "8.1"'), ('since: "9.0"', "deployment: cluster")])
def test_what_a_page_runs_on_is_part_of_its_fences(project: Project, old: str, new: str) -> None:
    edit(project, old, new, PAGES[1])
    done = project.build()
    assert done.returncode != 0
    assert f"`pytest {PAGES[1]}`" in done.stderr
    project.verify()
    assert project.build().returncode == 0


def test_what_a_macro_makes_of_a_fence_is_refused(project: Project) -> None:
    edit(project, "a tab\n", "a tab {$ facts.port $}\n")
    project.verify()
    done = project.build()
    assert done.returncode != 0
    assert "keep macros out of fences" in done.stderr


def test_an_included_file_is_part_of_a_fence(project: Project) -> None:
    (project.root / "snippets/hello.py").write_text("print(1)\n", "utf-8")
    done = project.build()
    assert done.returncode != 0
    assert '`python title="hello.py"` fence beginning `print(1)`' in done.stderr


def test_without_a_record_nothing_is_published(project: Project) -> None:
    (project.root / record.DEFAULT_PATH).unlink()
    done = project.build()
    assert done.returncode != 0
    assert done.stderr.count("holds no verified fences. Run `make verify`.") == 1


def test_a_failed_fence_is_refused_with_its_reason(project: Project) -> None:
    path = project.root / record.DEFAULT_PATH
    known = record.load(path)
    entry = min((each for each in known.entries.values() if each.page == INDEX), key=lambda each: each.line)
    failed = entry.runs[0]._replace(verdict="failed", reason="got (nil)")
    known.entries[entry.page, entry.digest] = entry._replace(runs=(failed, *entry.runs[1:]))
    record.save(known, path)
    done = project.build()
    assert done.returncode != 0
    assert f"{INDEX}:{entry.line}: " in done.stderr
    assert "failed on Valkey 8.1.8 (embedded): got (nil)" in done.stderr


def test_a_malformed_page_is_refused(project: Project) -> None:
    edit(project, "```lua title=", "```lua  name=", PAGES[1])
    done = project.build()
    assert done.returncode != 0
    assert f"{PAGES[1]}:" in done.stderr


def test_serve_shows_a_mark_instead(project: Project) -> None:
    edit(project, "(integer) 1\n", "(integer) 2\n")
    (project.root / "mkdocs.yml").write_text(
        (project.root / "mkdocs.yml").read_text("utf-8").replace("strict: true", "strict: false"), "utf-8"
    )
    assert project.build().returncode == 0
    html = BeautifulSoup(project.html("modules/01-introduction/index.html"), "html.parser")
    mark = html.select_one(".fence-unknown .fence-unverified")
    assert mark
    assert "INCR counter" in mark.get_text()
    assert html.select_one(".page-verified--unverified")


def test_a_skipped_fence_is_marked_with_its_reason(built: Project) -> None:
    html = BeautifulSoup(built.html("modules/01-introduction/index.html"), "html.parser")
    notes = [note.get_text() for note in html.select(".fence-skipped")]
    assert notes == ["Not run in this build: needs Docker"]
    assert not html.select(".fence-unverified")


def test_a_version_is_shown(built: Project) -> None:
    html = BeautifulSoup(built.html("modules/01-introduction/index.html"), "html.parser")
    assert [note.get_text() for note in html.select(".fence-since")] == ["Valkey 9.0 and later"]


def test_the_copy_button_takes_commands(built: Project) -> None:
    html = BeautifulSoup(built.html("modules/01-introduction/index.html"), "html.parser")
    copied = [tag["data-copy"] for tag in html.select(".highlight[data-copy]")]
    assert copied[0] == (
        'SET greeting "hello, world"\nGET greeting\nGET nothing\nXADD s * temperature 21\n'
        "TTL greeting\nLPUSH greeting 1"
    )
    assert "docker run --rm \\\n    valkey/valkey:9.1\n--port 7000" in copied
    assert "stream-id" not in html.select(".highlight")[0].get_text()


def test_where_there_is_no_command_there_is_no_copy_button(built: Project) -> None:
    html = BeautifulSoup(built.html("modules/01-introduction/characteristics.html"), "html.parser")
    [fence] = html.select(".highlight.no-copy")
    assert '"message"' in fence.get_text()
    assert not fence.has_attr("data-copy")


@pytest.mark.parametrize("page", PAGES)
def test_rendering_sees_the_fences_that_the_collector_sees(
    project: Project, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    config = load_config(str(project.root / "mkdocs.yml"))
    seen: list[str] = []

    def chain(*given: object) -> str:
        seen.append(fences_chain(*given))  # type: ignore[arg-type]
        return seen[-1]

    read = fences.read_page(project.root / page, root=project.root)
    fences_chain = fences.chain
    monkeypatch.setattr(gate.fences, "chain", chain)
    gate.begin(gate.Source(project.root, page, read.fences, fences.beginning(read.meta)))
    text = read.text.split("---\n", 2)[-1] if read.meta else read.text
    markdown.Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs).convert(text)
    assert seen == [fence.digest for fence in read.fences]
    assert len(seen) > 2


def test_an_error_in_the_formatter_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gate.begin(None)
    monkeypatch.setattr(gate, "commands", lambda *_: 1 / 0)
    custom = [{"name": "*", "class": "fence", "validator": gate.validator, "format": gate.formatter}]
    converter = markdown.Markdown(
        extensions=["pymdownx.superfences"], extension_configs={"pymdownx.superfences": {"custom_fences": custom}}
    )
    with pytest.raises(SuperFencesException, match="ZeroDivisionError"):
        converter.convert("```text\na\n```")


def test_the_record_is_read_again_when_it_changes(project: Project) -> None:
    path = project.root / record.DEFAULT_PATH
    first = gate.verified(project.root)
    assert gate.verified(project.root) is first
    os.utime(path, ns=(1, 1))
    assert gate.verified(project.root) is not first
