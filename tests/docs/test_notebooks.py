"""Each notebook is what its source gives, runs, and can be found."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

NAMES = (
    "01_embed_a_scene",
    "02_a_dated_series",
    "03_fine_tune_on_floods",
    "04_similar_places",
    "05_probe",
    "06_from_rs_embed",
)
#: Quick, and imports no TerraTorch; the others run with CI_FULL=1.
ALWAYS, SELDOM = NAMES[:1], NAMES[1:]


def test_a_source_that_changed_has_a_notebook_that_was_run_again() -> None:
    """Else readers would see numbers of yesterday's code: run ``python docs/tools/notebooks.py --execute NAME``."""
    import notebooks

    assert tuple(source.stem for source in notebooks.sources()) == NAMES
    notebooks.main(["--check"])


def test_a_notebook_without_a_source_is_found(root: Path) -> None:
    assert {file.stem for file in (root / "docs" / "notebooks").glob("*.ipynb")} == set(NAMES)


def test_every_notebook_stands_in_the_navigation(root: Path) -> None:
    text = (root / "mkdocs.yml").read_text(encoding="utf-8")
    (section,) = (entry["Notebooks"] for entry in yaml.safe_load(text)["nav"] if "Notebooks" in entry)
    listed = [path for entry in section for path in entry.values()]
    assert [path for path in listed if path.startswith("notebooks/")] == [f"notebooks/{name}.md" for name in NAMES]


def test_who_reads_how_to_do_something_finds_the_notebook_that_shows_it(root: Path) -> None:
    pages = [*(root / "docs" / "howto").glob("*.md"), *(root / "docs" / "start").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [name for name in NAMES if f"](../notebooks/{name}.ipynb)" not in text] == []


def test_two_notebooks_of_one_source_are_the_same(root: Path) -> None:
    import notebooks

    source = root / "docs" / "notebooks" / f"{NAMES[0]}.py"
    assert notebooks.notebook_of(source) == notebooks.notebook_of(source)


def changed(root: Path, folder: Path, change: str) -> list[str]:
    """Faults of a copy of the first notebook in which something was changed."""
    import notebooks

    for suffix in (".py", ".ipynb"):
        shutil.copy(root / "docs" / "notebooks" / f"{NAMES[0]}{suffix}", folder)
    source = folder / f"{NAMES[0]}.py"
    file = source.with_suffix(".ipynb")
    notebook = nbformat.read(file, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = next(cell for cell in code if any("image/png" in output.get("data", {}) for output in cell.outputs))
    if change == "code":
        source.write_text(source.read_text(encoding="utf-8").replace("patch_size=4", "patch_size=8"), encoding="utf-8")
    elif change == "words":
        source.write_text(source.read_text(encoding="utf-8").replace("## One call", "## 1 call"), encoding="utf-8")
    elif change == "not run":
        code[0].execution_count = None
    elif change == "no alt":
        shown.outputs[0].metadata = {}
    elif change == "path":
        code[0].outputs = [nbformat.v4.new_output("stream", name="stderr", text="/home/somebody/x.py:1: UserWarning")]
    elif change == "error":
        code[0].outputs = [nbformat.v4.new_output("error", ename="KeyError", evalue="", traceback=[])]
    elif change == "large":
        code[0].outputs = [nbformat.v4.new_output("stream", text="x" * notebooks.LARGEST)]
    nbformat.write(notebook, file)
    if change == "gone":
        file.unlink()
    return notebooks.faults(source)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("code", "has other cells"),
        ("words", "has other cells"),
        ("not run", "code cell 0: was not run"),
        ("no alt", "needs words for those who do not see it"),
        ("path", "names a path of the machine"),
        ("error", "failed with KeyError"),
        ("large", "more than 300000 bytes"),
        ("gone", "is not there"),
    ],
)
def test_a_notebook_that_should_not_be_shown_is_found(root: Path, tmp_path: Path, change: str, fault: str) -> None:
    (found,) = changed(root, tmp_path, change)
    assert fault in found


def test_a_notebook_as_it_is_committed_has_no_fault(root: Path, tmp_path: Path) -> None:
    assert changed(root, tmp_path, "nothing") == []


def run(name: str) -> None:
    """Run a notebook where it lies; a cell that fails is an error."""
    import notebooks

    (source,) = notebooks.sources([name])
    found = notebooks.executed(source)
    assert all(cell.execution_count for cell in found.cells if cell.cell_type == "code")


@pytest.mark.parametrize("name", ALWAYS)
def test_the_first_notebook_runs(name: str) -> None:
    run(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SELDOM)
def test_every_notebook_runs(name: str) -> None:
    run(name)


def test_a_cell_that_fails_stops_the_run(tmp_path: Path) -> None:
    """Else a notebook with an error in it would be written, and shown."""
    import notebooks
    from nbclient.exceptions import CellExecutionError

    source = tmp_path / "x.py"
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.executed(source)


def test_texts_that_come_in_pieces_name_no_folder_either(tmp_path: Path) -> None:
    """Pieces are joined before they are read."""
    import notebooks

    source = tmp_path / "x.py"
    lines = ["# %%", "import sys", 'print("a")', "sys.stdout.flush()", "import time", "time.sleep(0.5)"]
    lines += ['print("/x/lib/site-packages/b.py:1")', "sys.stdout.flush()"]
    source.write_text("\n".join(lines), encoding="utf-8")
    (cell,) = notebooks.executed(source).cells
    assert [output.text for output in cell.outputs] == ["a\nb.py:1\n"]


def test_texts_name_no_folder_of_this_machine(root: Path) -> None:
    import notebooks

    said = f"{root}/eo_embed/x.py:1: W\n/usr/lib/python3/site-packages/a/b.py:2: W\n/tmp/ipykernel_12/34.py:5: W"
    assert notebooks._without_paths(said) == "eo_embed/x.py:1: W\na/b.py:2: W\nthis cell:5: W"


def test_a_page_shows_all_that_the_notebook_shows(tmp_path: Path) -> None:
    import notebook_pages

    new = nbformat.v4
    shown = new.new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": "A river."}})
    table = new.new_output("display_data", {"text/markdown": "# Scores\n\n| a |\n|---|\n| 1 |"})
    value = new.new_output("execute_result", {"text/plain": "'```'"}, execution_count=1)
    outputs = [new.new_output("stream", name="stdout", text="1 chip\n"), shown, table, value]
    cells = [new.new_markdown_cell("# Title"), new.new_code_cell("print(n)", outputs=outputs)]
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "x.ipynb")
    page = notebook_pages.pages(tmp_path)["x"]
    assert page.pictures == {"x_0.png": b"\x89PNG\r\n\x1a\n"}
    assert page.text == (
        "# Title\n\n```python\nprint(n)\n```\n\n```text\n1 chip\n```\n\n![A river.](x_0.png)\n\n"
        "**Scores**\n\n| a |\n|---|\n| 1 |\n\n````text\n'```'\n````\n"
    )


def test_links_to_notebooks_lead_to_their_pages() -> None:
    import hook

    text = "[a](notebooks/05_probe.ipynb)"
    assert hook.with_links_of_the_site(text, "gallery.md") == "[a](notebooks/05_probe.md)"
    assert hook.with_links_of_the_site("[a](05_probe.ipynb)", "notebooks/x.md") == "[a](05_probe.md)"
