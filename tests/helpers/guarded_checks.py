"""Long checks guard a part of the project; they run when it is not what they last passed on, and with CI_FULL=1.

``.ci/passed.json`` holds the fingerprint of each part on which its checks passed. It is of contents, not of commits: it
survives a squash, a rebase and a shallow clone, and counts what is not committed yet. Whatever is not recorded runs.

    python tests/helpers/guarded_checks.py --record     after a run of everything that passed; CI_FULL=1 .ci/run does it
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / ".ci" / "passed.json"
#: Marker and the part of the project that its checks guard: files and folders.
GUARDED: dict[str, tuple[str, ...]] = {
    "parity": (
        *("anysat_ext", "thor_terratorch_ext", "eo_models", "eo_core"),
        *("eo_data/preprocess", "eo_data/raster", "eo_data/sensors", "eo_data/temporal"),
        *("tests/parity", "tests/helpers"),
    ),
    "terratorch_defect": ("pyproject.toml", "tests/config/test_decoders.py"),
}
#: Marker of checks that nothing but CI_FULL=1 runs.
SLOW = "slow"
#: What counts as content; byte code, environments and outputs do not.
_SUFFIXES = {".py", ".toml", ".yaml", ".json"}


def everything() -> bool:
    """Whether all checks were asked for."""
    return os.environ.get("CI_FULL") == "1"


def fingerprint(parts: tuple[str, ...], root: Path = ROOT) -> str:
    """SHA-256 of the files of a part: their names and contents.

    Raises
    ------
    FileNotFoundError
        If a file or folder is not there: a guard that was moved guards nothing.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = root / part
        if not path.exists():
            msg = f"{part} is guarded by checks (tests/helpers/guarded_checks.py) and is not there. Name its new place."
            raise FileNotFoundError(msg)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            inside = file.relative_to(root)
            hidden = any(name.startswith(".") for name in inside.parts)
            if file.is_file() and file.suffix in _SUFFIXES and not hidden:
                content = file.read_bytes().replace(b"\r\n", b"\n")
                digest.update(f"{inside.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def recorded(file: Path = RECORD) -> dict[str, str]:
    """Fingerprints on which the checks passed, by marker; empty if there is no record."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def left_out(root: Path = ROOT, record: Path = RECORD) -> dict[str, str]:
    """Markers whose checks do not run, and why."""
    if everything():
        return {}
    passed = recorded(record)
    same = {name for name, parts in GUARDED.items() if passed.get(name) == fingerprint(parts, root)}
    reasons = dict.fromkeys(sorted(same), "what they guard is what they last passed on")
    return reasons | {SLOW: "they only run with CI_FULL=1"}


def main() -> None:
    """Record that all checks passed."""
    if sys.argv[1:] != ["--record"]:
        sys.exit("usage: python tests/helpers/guarded_checks.py --record   (after CI_FULL=1 pytest has passed)")
    found = {name: fingerprint(parts) for name, parts in GUARDED.items()}
    RECORD.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
