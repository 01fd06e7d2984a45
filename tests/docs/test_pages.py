"""What a reader follows leads somewhere: links, anchors, navigation, pictures, names of files. No MkDocs is needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

#: Pages that the site makes by itself.
GENERATED = ("reference/errors/",)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def anchors(text: str) -> set[str]:
    code_free = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#{1,6} (.*)$", code_free, re.MULTILINE)}


def links(text: str) -> Iterator[tuple[str, str]]:
    """Targets and anchors of relative links and pictures."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def faults_of_links(root: Path, pages: dict[str, str]) -> list[str]:
    faults = []
    for name, text in pages.items():
        for path, anchor in links(text):
            target = (root / name).parent / path if path else root / name
            if not target.exists():
                faults.append(f"{name}: {path} does not exist")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8") if path else text):
                faults.append(f"{name}: {path} has no heading #{anchor}")
    return faults


def test_a_page_that_was_moved_leaves_no_dead_link_or_anchor(root: Path, pages: dict[str, str]) -> None:
    assert faults_of_links(root, pages) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "nowhere.md does not exist"),
        ("[a](howto/index.md#nothing)", "has no heading #nothing"),
        ("![a](images/none.svg)", "none.svg does not exist"),
        ("## Some words\n\n[a](#some-other-words)", "has no heading #some-other-words"),
    ],
)
def test_dead_links_are_found(root: Path, text: str, fault: str) -> None:
    (found,) = faults_of_links(root, {"docs/index.md": text})
    assert fault in found


def leaves(node: Any) -> Iterator[str]:
    if isinstance(node, list | dict):
        for value in node.values() if isinstance(node, dict) else node:
            yield from leaves(value)
    else:
        yield node


def test_every_page_can_be_reached_by_the_navigation(root: Path) -> None:
    """Also one for each config, and one for each page of errors that the site makes."""
    import errors
    import hook

    listed = list(leaves(yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert len(listed) == len(set(listed))
    written = {file.relative_to(root / "docs").as_posix() for file in (root / "docs").rglob("*.md")}
    written |= {f"notebooks/{file.stem}.md" for file in (root / "docs" / "notebooks").glob("*.ipynb")}
    made = {*hook.ELSEWHERE.values(), *(f"{folder}{name}.md" for folder in GENERATED for name in errors.PAGES)}
    assert set(listed) == written | made
    recipes = {f"recipes/{file.stem}.md" for file in (root / "config").glob("*.yaml")}
    assert recipes <= set(listed)


def test_every_picture_has_words_a_script_and_few_bytes(root: Path, pages: dict[str, str]) -> None:
    shown = {}
    for name, text in pages.items():
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
            assert len(words) > 40, f"{name}: {target} needs words for those who do not see it"
            shown[((root / name).parent / target).resolve()] = name
    drawn = {file for suffix in ("svg", "png") for file in (root / "docs" / "images").glob(f"*.{suffix}")}
    assert drawn == shown.keys()
    for file in drawn:
        assert (root / "docs" / "figures" / f"{file.stem}.py").is_file(), f"no script draws {file.name}"
        assert file.stat().st_size < 100_000, file


def test_pages_name_files_and_commands_that_exist(root: Path, pages: dict[str, str]) -> None:
    from eo_embed.cli import COMMANDS

    for name, text in pages.items():
        for path in set(
            re.findall(r"(?<![\w/.])(?:config|datasets|benchmarks|tests|examples)/[\w./-]+\.(?:yaml|py|md)", text)
        ):
            shown_as_missing = f"There is no config {path}" in text  # an error that a page shows
            assert shown_as_missing or (root / path).is_file(), (name, path)
        for command in re.findall(r"(?:^|`|uv run )eo ([a-z]+)\b", text, re.MULTILINE):
            assert command in COMMANDS, (name, command)
        for module in re.findall(r"python -m ((?:eo_|anysat_|universat_|thor_)[\w.]+)", text):
            folder = root.joinpath(*module.split("."))
            assert folder.with_suffix(".py").is_file() or (folder / "__main__.py").is_file(), (name, module)


def test_yaml_in_pages_is_yaml_and_its_classes_exist(root: Path, pages: dict[str, str]) -> None:
    import public_names

    for name, text in pages.items():
        for block in re.findall(r"^```yaml\n(\w.*?)^```", text, re.DOTALL | re.MULTILINE):
            assert yaml.safe_load(block.replace("...,", "")), name
        for path in set(re.findall(r"class_path: ((?:eo_|anysat_|universat_|thor_)[\w.]+)", text)):
            assert public_names.definition(root, path) is not None, (name, path)
