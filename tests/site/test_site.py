"""The built site: complete, and asking nobody else for anything."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from bs4 import BeautifulSoup
from sample_site import PAGES, PROJECT, Project

from valkey_doctest import record
from valkey_doctest.site.macros import PictureError, inline_picture, verified_sentence

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
NOT_FETCHED = {"canonical", "prev", "next", "alternate"}
# Material's bundle fetches these only for what our pages never have.
NEVER_REACHED = (
    "https://unpkg.com/resize-observer-polyfill",  # browsers without ResizeObserver
    "https://unpkg.com/mermaid@",  # <pre class="mermaid">
    "https://api.github.com/",  # data-md-component="source"
    "https://gitlab.com/",
    "https://${",
)


def soup(built: Project, page: str) -> BeautifulSoup:
    return BeautifulSoup(built.html(page), "html.parser")


def html_pages(built: Project) -> list[str]:
    site = built.root / "site"
    return [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]


def test_no_page_loads_anything_from_elsewhere(built: Project) -> None:
    for page in html_pages(built):
        for name, attribute in LOADS.items():
            for tag in soup(built, page).find_all(name):
                address = str(tag.get(attribute, ""))
                fetched = not NOT_FETCHED & set(tag.get_attribute_list("rel"))
                assert not (fetched and re.match(r"(https?:)?//", address)), (page, str(tag))


def test_no_page_has_what_makes_material_fetch(built: Project) -> None:
    for page in html_pages(built):
        html = soup(built, page)
        assert not html.select('[data-md-component="source"], .mermaid'), page


def test_no_stylesheet_or_script_names_a_foreign_resource(built: Project) -> None:
    site = built.root / "site"
    for path in [*site.rglob("*.css"), *site.rglob("*.js")]:
        if path.name == "search_index.js":
            continue  # the text of the pages
        text = path.read_text("utf-8")
        if path.suffix == ".css":
            assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), path.name
            continue
        for found in re.finditer(r"""["'`](https?://[^"'`]*)""", text):
            assert found[1].startswith((*NEVER_REACHED, "https://clipboardjs.com")), (path.name, found[1])


def test_every_page_with_fences_has_one_verified_line_under_its_title(built: Project) -> None:
    for page in PAGES:
        html = soup(built, page.removeprefix("docs/").replace(".md", ".html"))
        [line] = html.select(".page-verified")
        [title] = html.select("h1")
        assert line.find_previous(["h1", "h2", "pre"]) is title
    assert not soup(built, "index.html").select(".page-verified")


def test_the_verified_line_says_what_was_run(built: Project) -> None:
    characteristics = soup(built, "modules/01-introduction/characteristics.html")
    assert characteristics.select(".page-verified")[0].get_text() == (
        "Every example on this page was run: 4 fences, 4 exchanges, on Valkey 8.1.8 and 9.1.2 (embedded)."
    )
    assert characteristics.select(".page-since")[0].get_text() == "For Valkey 9.0 and later"
    assert (
        soup(built, "modules/01-introduction/index.html")
        .select(".page-verified")[0]
        .get_text()
        .endswith("1 was not run in this build: needs Docker.")
    )


def test_versions_are_listed_by_provider_and_in_order() -> None:
    runs = tuple(
        record.Run(version, provider, "standalone", "passed")
        for version, provider in [
            ("9.1.2", "container"),
            ("8.1.10", "embedded"),
            ("8.1.9", "embedded"),
            ("9.0", "embedded"),
        ]
    )
    state, sentence = verified_sentence([record.Entry("", "", 1, "text", 1, (), runs)], "here")
    assert state == "verified"
    assert sentence == (
        "Every example here was run: 1 fence, 1 exchange, "
        "on Valkey 8.1.9, 8.1.10 and 9.0 (embedded); 9.1.2 (container)."
    )
    assert verified_sentence([None, None], "here") == ("unverified", "2 not verified.")


def test_facts_reach_pages_and_fences_keep_their_braces(built: Project) -> None:
    assert "Valkey 9.1 listens on port 6379" in built.html("modules/01-introduction/index.html")
    text = soup(built, "modules/01-introduction/characteristics.html").get_text()
    assert '"{{ x }} {% raw %}"' in text


def test_an_unknown_macro_stops_the_build(project: Project) -> None:
    (project.root / "docs/index.md").write_text("# A\n\n{$ facts.nothing_of_the_kind $}\n", "utf-8")
    done = project.build(quiet=False)
    assert done.returncode != 0
    assert "nothing_of_the_kind" in done.stdout + done.stderr


def test_a_dead_link_stops_the_build(project: Project) -> None:
    (project.root / "docs/index.md").write_text("# A\n\n[x](modules/01-introduction/index.md#nowhere)\n", "utf-8")
    assert project.build(quiet=False).returncode != 0


def test_pictures_are_inline_and_described(built: Project) -> None:
    html = soup(built, "modules/01-introduction/index.html")
    [svg] = html.select("figure.picture svg[role=img]")
    title = svg.select_one("title")
    assert title
    assert title["id"] == svg["aria-labelledby"]


@pytest.mark.parametrize("path", sorted((PROJECT / "docs/assets/pictures").glob("*.svg")), ids=lambda path: path.stem)
def test_every_picture_can_be_shown_everywhere(path) -> None:  # noqa: ANN001 -- a Path
    figure = BeautifulSoup(inline_picture(path), "html.parser")
    for shape in figure.select("rect, circle, path, text, line"):
        around = [shape, *shape.find_parents("g")]  # a group's attributes hold for what is in it
        assert any(each.get("fill") for each in around), f"{shape}: no fill, so black in the PDF"
        assert any(each.get("class") for each in around), f"{shape}: no class, so the same in both palettes"
    assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text("utf-8"))


def test_a_missing_picture_says_which_there_are(built: Project) -> None:
    with pytest.raises(PictureError, match=r"there are: .*fork-timeline, .*one-thread"):
        inline_picture(built.root / "docs/assets/pictures/none.svg")


def test_search_works_from_a_folder(built: Project) -> None:
    assert (built.root / "site/search/search_index.js").exists()
    page = unescape(built.html("modules/01-introduction/index.html"))
    assert "assets/vendor/iframe-worker-shim.js" in page
    assert "navigation.instant" not in page


def test_search_finds_words_that_are_commands(built: Project) -> None:
    index = json.loads((built.root / "site/search/search_index.json").read_text("utf-8"))
    assert "stopWordFilter" not in index["config"]["pipeline"]  # it drops "get"
    assert any("LPUSH" in section["text"] for section in index["docs"])


def test_the_project_says_whose_it_is(built: Project) -> None:
    footer = soup(built, "index.html").select_one(".md-copyright")
    assert footer
    for needed in ("CC BY 4.0", "BSD-3-Clause", "this course is an independent work", "PDF"):
        assert needed in footer.get_text()
