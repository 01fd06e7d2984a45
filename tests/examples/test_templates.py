"""The templates of job arrays run, and are what their generator writes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from same_exports import assert_same_exports
from sharded_runs import export

#: Stands for SLURM: runs the jobs of an array one after the other, and others if what they depend on has ended.
SBATCH = """#!/usr/bin/env bash
set -euo pipefail
for argument in "$@"; do
  case "$argument" in
    --array=0-*) last=${argument#--array=0-} ;;
    --wrap=*) command=${argument#--wrap=} ;;
    --dependency=afterany:*) [[ "${argument#--dependency=afterany:}" == 17 ]] ;;
  esac
done
echo "$*" >> "$(dirname "$0")/jobs"
if [[ -v last ]]; then
  for ((i = 0; i <= last; i++)); do SLURM_ARRAY_TASK_ID=$i bash -c "$command" >&2; done
else
  bash -c "$command" >&2
fi
echo 17
"""
#: Stands for the command line of TerraTorch, which tests/eo_embed/test_task.py runs with the same arguments.
TERRATORCH = """#!{python}
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {helpers!r}]
from eo_data.catalog.shards import Shard
from sharded_runs import export
assert sys.argv[1:3] == ["predict", "--config"], sys.argv
given = dict(argument.split("=", 1) for argument in sys.argv[4:])
assert given.pop("--model.init_args.take_over") == "true"
out = given.pop("--model.init_args.out")
shard = Shard(int(given.pop("--data.init_args.shard.index")), int(given.pop("--data.init_args.shard.of")))
assert not given
export(Path(out), shard, output="pooled")
"""


@pytest.fixture
def written(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_examples", root / "examples" / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_those_of_the_one_command_line(written: ModuleType, root: Path) -> None:
    for name, text in written.templates().items():
        assert (root / "examples" / name).read_text(encoding="utf-8") == text, "run python examples/write.py"


def test_job_definitions_are_json_and_run_the_command_line(written: ModuleType) -> None:
    jobs = [
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", written.templates()["aws_batch.md"], re.DOTALL)
    ]
    commands = [job["containerProperties"]["command"] for job in jobs]
    assert commands == [
        ["bash", "-c", written.COMMAND.replace("$INDEX", "$AWS_BATCH_JOB_ARRAY_INDEX")],
        ["bash", "-c", written.MERGE],
    ]
    names = [entry["name"] for entry in jobs[0]["containerProperties"]["environment"]]
    assert set(re.findall(r"\$([A-Z]+)\b", written.COMMAND)) == {*names, "INDEX"}


def test_an_array_of_three_jobs_and_the_merge_after_it_are_one_process(root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "my tools"
    tools.mkdir()
    helpers = str(root / "tests" / "helpers")
    scripts = {
        "sbatch": SBATCH,
        "terratorch": TERRATORCH.format(python=sys.executable, root=str(root), helpers=helpers),
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    out = tmp_path / "out of jobs"
    done = subprocess.run(  # noqa: S603
        ["/usr/bin/env", "bash", str(root / "examples" / "slurm.sh"), "embed.yaml", str(out)],
        env={**os.environ, "PATH": path, "SHARDS": "3", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len((tools / "jobs").read_text().splitlines()) == 2
    assert "3 shards are one export: 18 items, 0 failed" in done.stderr
    export(tmp_path / "one", output="pooled")
    (out / "shards").rename(tmp_path / "shards")  # they stay until somebody removes them
    assert_same_exports(tmp_path / "one", out)
