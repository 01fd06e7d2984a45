"""What MkDocs adds to these pages: pages made from the source, and files of the project that pages link to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import errors  # beside this file, where MkDocs looks while it loads a hook
import notebook_pages

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Pages of the project that lie elsewhere, and their place on the site.
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "benchmarks/README.md": "benchmarks.md",
        "CONTRIBUTING.md": "contributing.md",
        "CHANGELOG.md": "changelog.md",
        "datasets/sample/README.md": "sample.md",
    }
)
#: Folder of the site for other files that pages link to.
COPIES = "project"
#: Notebooks below `docs`, which become pages; the files lie beside those.
_NOTEBOOK = re.compile(r"(notebooks/\w+)\.ipynb")
_WHOLE_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s:]+)\)")
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages from elsewhere, the errors, and copies of what pages link to."""
    from mkdocs.structure.files import File  # noqa: PLC0415  (tests use this module without MkDocs)

    pages = {own: (ROOT / path).read_text(encoding="utf-8") for path, own in ELSEWHERE.items()}
    pages |= {f"reference/errors/{name}.md": errors.page_text(name) for name in errors.PAGES}
    for name, found in notebook_pages.pages().items():
        pages[f"notebooks/{name}.md"] = found.text
        for picture, content in found.pictures.items():
            files.append(File.generated(config, f"notebooks/{picture}", content=content))
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    written = {file.src_uri: file.content_string for file in files.documentation_pages()}
    for path in sorted({path for name, text in written.items() for path in links_out(text, source_of(name))}):
        if path not in ELSEWHERE:
            files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links that leave this folder into links to what `on_files` added."""
    uri = page.file.src_uri
    more = configs_of(markdown) if uri.startswith("recipes/") else ""
    if uri.startswith("notebooks/"):
        more = f"\n[This notebook as a file]({posixpath.basename(uri).removesuffix('.md')}.ipynb)\n"
    return with_links_of_the_site(markdown, uri) + more


def configs_of(recipe: str) -> str:
    """Return the files that a recipe's page lists, as text."""
    paths = re.findall(r"^- \[`(config/[\w./-]+)`\]", recipe, re.MULTILINE)
    return "".join(f"\n### {path}\n\n```yaml\n{(ROOT / path).read_text(encoding='utf-8')}```\n" for path in paths)


def source_of(uri: str) -> str:
    """Return where a page of the site lies in the project."""
    return {own: path for path, own in ELSEWHERE.items()}.get(uri, f"docs/{uri}")


def links_out(text: str, source: str) -> Iterator[str]:
    """Return the files outside of ``docs`` that a page links to, from the root of the project on."""
    for target in _LINK.findall(_without_code(text)):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not path.startswith("docs/") and (ROOT / path).is_file():
            yield path


def with_links_of_the_site(text: str, uri: str) -> str:
    """Return a page whose relative links lead to pages of the site; those to folders are text."""
    source = source_of(uri)

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if path.startswith("docs/"):
            target = _NOTEBOOK.sub(r"\1.md", path.removeprefix("docs/"))
        elif (ROOT / path).is_file():
            target = ELSEWHERE.get(path, f"{COPIES}/{path}")
        else:
            return match[1]
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    def plain(match: re.Match[str]) -> str:
        return match[1] if (ROOT / posixpath.dirname(source) / match[2]).is_dir() else match[0]

    return _LINK.sub(moved, _WHOLE_LINK.sub(plain, text))


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)
