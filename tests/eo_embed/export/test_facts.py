"""Facts decide what may be resumed: weights by their content, not by their path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

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


def test_addresses_in_the_config_are_kept_without_credentials(tmp_path: Path) -> None:
    """Whoever gets the export could search a catalogue, or read its files, with them."""
    text = "data:\n  source: 'https://user:SECRET@host/v1?sig=SECRET&x=1'\n  root: /home/me/data\n"
    for whole in (True, False):
        found = run_provenance(None, text, tmp_path, absolute_paths=whole)["config"]
        assert yaml.safe_load(found)["data"]["source"] == "https://host/v1"
