"""Facts decide what may be resumed: weights by their content, not by their path."""

from __future__ import annotations

from typing import Any

from eo_embed.export.facts import encoder_facts, export_facts, run_provenance
from eo_embed.export.settings import ExportSettings


def test_the_path_of_the_weights_is_no_fact_but_provenance(tmp_path: Any) -> None:
    """Weights count by their content: a moved checkpoint must not refuse a resume."""
    facts = encoder_facts("toy", {"ckpt": "a.pt", "patch": 8}, ExportSettings())
    assert facts["backbone_args"] == {"patch": 8}
    assert "overwrite" not in facts
    (tmp_path / "a.pt").write_bytes(b"abc")
    known = run_provenance(tmp_path / "a.pt", None, "data")
    assert known["checkpoint_sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert run_provenance("gone.pt", None, "")["checkpoint_sha256"] is None


def test_facts_of_a_data_module_of_somebody_else_are_its_class() -> None:
    facts = export_facts({"backbone": "toy"}, "00ff", "bf16-mixed", object())
    assert facts == {
        "task": {"backbone": "toy"},
        "weights_sha256": "00ff",
        "precision": "bf16-mixed",
        "data": {"class": "builtins.object"},
    }
