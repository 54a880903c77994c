"""What needs a newer version, as the page says, and what a run on several versions tells."""

from __future__ import annotations

from typing import Any

import pytest

PAGE = '---\nsince: "9.0"\n---\n\n'
NEW = "```valkey-cli\n127.0.0.1:6379> HSETEX h EX 60 FIELDS 1 f 1\n(integer) 1\n```\n\n"
OLD = "```valkey-cli\n127.0.0.1:6379> PING\nPONG\n```\n\n"


def verdicts(project: Any) -> list[list[tuple[str, str, str | None]]]:
    return [
        [(run["version"][:3], run["verdict"], run["reason"]) for run in fence["runs"]] for fence in project.record()
    ]


def test_a_page_that_is_too_new_is_not_run(project: Any) -> None:
    project.page(PAGE + NEW)
    result = project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*1 not run: needs Valkey 9.0: docs/page.md:5"])
    assert verdicts(project) == [[("8.1", "skipped", "needs Valkey 9.0"), ("9.1", "passed", None)]]


def test_a_page_that_is_too_cautious_is_reported(project: Any) -> None:
    project.page(PAGE + OLD + NEW)
    result = project.verify("--valkey-version=8.1")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*1 not run: needs Valkey 9.0, says the page, but passes on 8.1.*: docs/page.md:5",
            "*1 not run: needs Valkey 9.0: docs/page.md:10",
        ]
    )


def test_a_fence_on_a_page_may_need_a_newer_version_still(project: Any) -> None:
    project.page('---\nsince: "8.0"\n---\n\n' + OLD + NEW.replace("```valkey-cli", '```valkey-cli {since="9.0"}'))
    project.verify("--valkey-version=8.1", "--valkey-version=9.1").assert_outcomes(passed=3, skipped=1)
    assert verdicts(project) == [
        [("8.1", "passed", None), ("9.1", "passed", None)],
        [("8.1", "skipped", "needs Valkey 9.0"), ("9.1", "passed", None)],
    ]


def test_what_is_wrong_on_one_version_only_names_it(project: Any) -> None:
    project.page(NEW)
    result = project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["docs/page.md:2: Valkey 8.1.* (embedded): the reply differs."])
    assert [run[1] for run in verdicts(project)[0]] == ["failed", "passed"]


def test_a_later_run_on_one_version_leaves_the_verdict_of_the_other(project: Any) -> None:
    project.page(OLD)
    project.verify("--valkey-version=8.1", "--valkey-version=9.1")
    project.verify("--valkey-version=9.1")
    assert verdicts(project) == [[("8.1", "passed", None), ("9.1", "passed", None)]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'since: "9.0"\n'),
        ('since: "8.1"\n', 'since: "9.0"\n'),
        ("", "deployment: replication\n"),
        ("deployment: replication\n", "deployment: sentinel\n"),
    ],
)
def test_other_servers_or_versions_ask_for_a_new_verification(project: Any, before: str, after: str) -> None:
    project.page(f"---\ntitle: A\n{before}---\n\n{OLD}")
    project.verify()
    digest = project.record()[0]["digest"]
    project.page(f"---\ntitle: B\n{before}---\n\n{OLD}")
    project.verify()
    assert project.record()[0]["digest"] == digest  # a title says nothing about how it is run
    project.page(f"---\ntitle: B\n{after}---\n\n{OLD}")
    project.verify()
    (fence,) = project.record()
    assert fence["digest"] != digest
