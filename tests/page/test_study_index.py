"""The list of links to studies' pages."""

from __future__ import annotations

from convmill.page.study_index import with_links
from tests.page import studies

PAGE = "# Studies\n\nWhat they are.\n\n## Keys\n\nmany\n"
LINK = "- [Pooling \\<&\\>](pooling.md): Does max pooling beat the others?\n"


def test_links_stand_before_the_first_section_once():
    page = with_links(PAGE, {"pooling": studies.pooling()})
    assert page == f"# Studies\n\nWhat they are.\n\n## Results\n\n{LINK}\n## Keys\n\nmany\n"
    assert with_links(page, {"pooling": studies.pooling()}) == page
    assert with_links(page, {}) == PAGE


def test_a_page_without_sections_ends_with_them():
    page = with_links("# Studies\n", {"pooling": studies.pooling()})
    assert page == f"# Studies\n\n## Results\n\n{LINK}"
