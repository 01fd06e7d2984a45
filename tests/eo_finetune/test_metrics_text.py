"""Tables stay readable whatever names and numbers are in them."""

from __future__ import annotations

from eo_finetune.metrics_text import Section, as_csv, as_markdown


def test_the_markdown_is_aligned_and_names_cannot_break_it() -> None:
    scores = {"IoU": 0.5, "accuracy": 1.0, "F1": 2 / 3, "precision": float("nan"), "recall": 1e-4, "support": 12345678}
    section = Section("test", {"mIoU": 0.5, "loss": 12345.678}, {"samples": 2, "pixels": 8}, {"a|b": scores})
    text = as_markdown([section])
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(line) for line in lines}) <= 1
    assert "| a\\|b            | 0.5000 |   1.0000 | 0.6667 |         - | 0.0001 |         12345678 |" in text
    assert "| loss   | 12345.7 |" in text
    assert "test,a|b,F1,0.666666667\n" in as_csv([section])
