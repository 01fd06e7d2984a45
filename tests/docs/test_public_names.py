"""Whatever a package exports has a docstring and an entry of the API pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

#: Commands' functions, which the page of commands shows instead, and names that another page has.
ELSEWHERE = {"main", "EarthEngine", "StacCatalogue", "MultiBackboneWrapper", "PredictionPanels", "embed_on_ray"}


def names() -> list[str]:
    return [
        "eo_embed",
        "eo_finetune",
        "thor_terratorch_ext",
        "anysat_ext",
        "universat_ext",
        "eo_data.datamodules",
        "eo_data.preprocess",
    ]


@pytest.mark.parametrize("package", [*names(), "eo_embed.map", "eo_embed.pictures", "eo_embed.ray"])
def test_an_exported_name_has_a_docstring(root: Path, package: str) -> None:
    import public_names

    assert package in public_names.PACKAGES
    found = public_names.exported(root, package)
    assert found, package
    for name in found:
        node = public_names.definition(root, f"{package}.{name}")
        assert node is not None, (package, name)
        assert ast.get_docstring(node), (package, name)


def test_a_name_that_is_not_there_is_found_out(root: Path) -> None:
    import public_names

    assert public_names.definition(root, "eo_embed.embed_nothing") is None
    assert public_names.definition(root, "eo_nothing.embed") is None


def test_an_exported_name_stands_on_the_pages_of_the_api(root: Path) -> None:
    import public_names

    text = "\n".join(file.read_text(encoding="utf-8") for file in (root / "docs" / "reference" / "api").glob("*.md"))
    shown = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
    for path in shown:
        assert public_names.definition(root, path) is not None, path
    wanted = {f"{package}.{name}" for package in names() for name in public_names.exported(root, package)}
    missing = {path for path in wanted - shown if path.rpartition(".")[2] not in ELSEWHERE}
    assert missing == set()
