"""Pages that are made from the source show all of it, and what is committed is what the source gives."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml


def test_a_config_that_changed_has_a_page_that_says_so() -> None:
    """Else a page would show bands or commands of yesterday: run ``python docs/tools/recipes.py``."""
    import recipes

    recipes.main(["--check"])


def test_a_stale_page_of_a_recipe_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import recipes

    monkeypatch.setattr(recipes, "PAGES", tmp_path)
    recipes.main([])
    recipes.main(["--check"])
    file = tmp_path / "embed_quickstart.md"
    file.write_text(file.read_text(encoding="utf-8").replace("RED_EDGE_1", "RED_EDGE_2"), encoding="utf-8")
    (tmp_path / "gone.md").write_text("# A config that was deleted", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"embed_quickstart\.md, gone\.md"):
        recipes.main(["--check"])


def test_a_recipe_shows_bands_units_and_commands(root: Path) -> None:
    import recipes

    for file in (root / "config").glob("*.yaml"):
        text = recipes.page(file)
        assert "| encoder | `" in text, file
        assert f"--config config/{file.name}" in text, file
        assert re.search(r"\| (image|bands)", text), file
    text = recipes.page(root / "config" / "sen1floods11_thor_S1.yaml")
    assert "| sentinel1 | VV, VH | decibel |" in text


def test_a_recipe_says_what_it_showed_or_that_it_was_not_run(root: Path) -> None:
    """Numbers that nobody measured, or of a config that is gone, would look like results."""
    import recipes

    results = yaml.safe_load(recipes.RESULTS.read_text(encoding="utf-8"))
    named = {name for one in results for name in one["recipes"]}
    assert named <= {file.stem for file in (root / "config").glob("*.yaml")}
    measured = (root / "docs" / "models" / "results.md").read_text(encoding="utf-8")
    for one in results:
        assert (root / one["script"]).is_file() if "script" in one else "synthetic" in one["text"]
        for row in one.get("table", [[]])[1:]:
            assert " | ".join(row[1:]) in measured, row
    for file in (root / "config").glob("*.yaml"):
        text = recipes.page(file)
        assert ("Not run on real data here." in text) == (file.stem not in named), file


SOURCE = """
def f(name, sides, self):
    if name:
        msg = (
            f"{name!r} has {len(sides)} sides, expected {self.one.good_sides}. "
            "Cut it, or pad *it*."
        )
        raise ValueError(msg)
    else:
        warnings.warn("No sides; all is <lost>", stacklevel=2)
    raise SampleError(str(name)) from None
"""


def test_a_message_becomes_cause_and_remedy() -> None:
    import errors

    error, warning = sorted(errors.messages_of(SOURCE), key=lambda message: message.kind)
    assert (error.kind, error.cause) == ("ValueError", "«name» has «…» sides, expected «good sides».")
    assert error.remedy == "Cut it, or pad *it*."
    assert (warning.kind, warning.text, warning.remedy) == ("warning", "No sides; all is <lost>", "")


def test_nearly_all_errors_of_the_source_stand_on_the_pages(root: Path) -> None:
    """Those that are put together elsewhere than where they are raised are few."""
    import errors

    modules = [file for page in errors.PAGES for file in errors.modules_of(page)]
    packages = {folder.partition("/")[0] for _, folders in errors.PAGES.values() for folder in folders}
    assert sorted(modules) == sorted(file for package in packages for file in (root / package).rglob("*.py"))
    text = "".join(errors.page_text(page) for page in errors.PAGES)
    raised = sum(len(re.findall(r"^\s*raise \w+\(", file.read_text(), re.MULTILINE)) for file in modules)
    assert text.count("\n- **") > 0.9 * raised
    assert "\\*it\\*" in errors._plain("pad *it*")


def test_the_first_pages_explain_the_whole_config(root: Path) -> None:
    """Blocks of YAML that follow one another are the config, line by line."""
    for page, first, config in (
        ("first_embedding", "seed_everything", "embed_quickstart"),
        ("first_finetuning", "seed_everything", "sen1floods11_thor_S2"),
    ):
        text = (root / "docs" / "start" / f"{page}.md").read_text(encoding="utf-8")
        whole = "".join(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
        assert whole.startswith(first)
        assert yaml.safe_load(whole) == yaml.safe_load((root / "config" / f"{config}.yaml").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore:image_size resamples")
def test_the_example_of_the_readme_prints_what_it_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    text = (root / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 120
    ((code, shown),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert printed.getvalue() == shown


def test_links_out_of_the_folder_become_links_of_the_site() -> None:
    import hook

    text = "[a](../examples/onnx_loader.py) [b](../benchmarks/README.md#x) [c](scaling.md) [d](https://e.org) "
    text += "[e](../benchmarks)"
    site = hook.with_links_of_the_site(text, "deploy.md")
    assert site == "[a](project/examples/onnx_loader.py) [b](benchmarks.md#x) [c](scaling.md) [d](https://e.org) e"
    assert list(hook.links_out(text, "docs/deploy.md")) == ["examples/onnx_loader.py", "benchmarks/README.md"]
    assert hook.with_links_of_the_site("[a](../docs/scaling.md)", "benchmarks.md") == "[a](scaling.md)"
