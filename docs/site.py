"""The site's pages are the Markdown files of the repository, at their own paths, so their links hold (mkdocs.yml).

MkDocs knows the folder docs/ alone. The other pages are added here, and whatever files they link to.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "config/README.md", "results/README.md")
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Move the pages of docs/ to their path in the repository, and add the others and what they link to."""
    for file in [one for one in files if one.src_dir == config.docs_dir]:  # the others are the theme's
        files.remove(file)
    pages = [*PAGES, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
    for uri in dict.fromkeys([*pages, *(uri for page in pages for uri in _linked(page))]):
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    return files


def _linked(page: str) -> Iterator[str]:
    """The files that a page links to."""
    for link in LINK.findall((ROOT / page).read_text()):
        uri = normpath(join(dirname(page), link))
        if (ROOT / uri).is_file():
            yield uri


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to folders lead into the repository: the site has none."""

    def place(link: re.Match[str]) -> str:
        uri = normpath(join(dirname(page.file.src_uri), link[1]))
        return f"{config.repo_url}/tree/main/{uri}" if (ROOT / uri).is_dir() else link[1]

    return LINK.sub(place, markdown)
