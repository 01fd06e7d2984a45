"""Writes the templates of job arrays beside it, which run one command line: ``python examples/write.py``."""

from __future__ import annotations

from pathlib import Path
from string import Template

#: What every job of an array runs; INDEX is its number in the array, from 0, as the scheduler tells it.
COMMAND = (
    'terratorch predict --config "$CONFIG" --model.init_args.out="$OUT" --model.init_args.take_over=true '
    '--data.init_args.shard.index="$INDEX" --data.init_args.shard.of="$SHARDS"'
)
#: What makes the whole when all jobs have ended.
MERGE = 'python -m eo_embed.merge "$OUT" --take-over'

SLURM = """#!/usr/bin/env bash
# Embeddings of a data set by an array of jobs, and one export of what they made:
#
#   SHARDS=8 bash examples/slurm.sh embed.yaml out/embeddings
#
# embed.yaml is any config of `terratorch predict` with an EmbeddingTask; out/embeddings lies on a file system that all
# nodes see. Options of the cluster (partition, account, GPU, modules) go into ARRAY and WHOLE.
# A job that was killed or ran out of time goes on where it was when it is submitted again: this script may be run
# again with the same arguments, and what is finished is left as it is. The last job says which shards are missing.
# Written by examples/write.py: change it there.
set -euo pipefail
export CONFIG=$${1:?a config}
export OUT=$${2:?a folder}
export SHARDS=$${SHARDS:-8}
ARRAY=(--job-name=embed --array=0-$$((SHARDS - 1)) --cpus-per-task=4 --mem=8G --time=24:00:00 --requeue)
WHOLE=(--job-name=merge --cpus-per-task=2 --mem=8G --time=04:00:00)

array=$$(sbatch --parsable "$${ARRAY[@]}" --wrap='$command')
sbatch --parsable "$${WHOLE[@]}" --dependency="afterany:$$array" --wrap='$merge'
"""

AWS_BATCH = """# Embeddings by an array of AWS Batch jobs

One array job makes the shards, one job after it makes the whole. `$$OUT` and the data lie on a file system that all
containers mount (EFS or FSx for Lustre, here at `/data`): an export renames files, which S3 cannot. Images may be read
from `s3://` addresses.

Put the environment and the two command lines into a job definition each, `embed.json` and `merge.json`:

```json
$embed
```

```json
$whole
```

Then, for 8 shards (an array has at least 2):

```bash
aws batch register-job-definition --cli-input-json file://embed.json
aws batch register-job-definition --cli-input-json file://merge.json
array=$$(aws batch submit-job --job-name embed --job-queue QUEUE --job-definition eo-embed \\
  --array-properties size=8 --query jobId --output text)
aws batch submit-job --job-name merge --job-queue QUEUE --job-definition eo-merge --depends-on jobId="$$array"
```

`SHARDS` in `embed.json` and `size` are the same number. A container that is lost (spot, out of memory) is started
again, up to 5 times, and goes on where it was; `take_over` lets it have the lock that the lost one left. The job merge
runs when all shards have ended well. If one has not, submit `merge` by itself: it says which shards are missing.

Written by `examples/write.py`: change it there.
"""

JOB = """{
  "jobDefinitionName": "$name",
  "type": "container",
  "retryStrategy": {"attempts": $attempts},
  "containerProperties": {
    "image": "IMAGE",
    "command": ["bash", "-c", "$command"],
    "environment": [
      {"name": "CONFIG", "value": "/data/embed.yaml"},
      {"name": "OUT", "value": "/data/out/embeddings"},
      {"name": "SHARDS", "value": "8"}
    ],
    "resourceRequirements": [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "8192"}],
    "volumes": [{"name": "data", "efsVolumeConfiguration": {"fileSystemId": "FILE-SYSTEM"}}],
    "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]
  }
}"""


def templates() -> dict[str, str]:
    """Return the templates by the names of their files."""
    slurm = Template(SLURM).substitute(command=COMMAND.replace("$INDEX", "$SLURM_ARRAY_TASK_ID"), merge=MERGE)
    embed = _job("eo-embed", COMMAND.replace("$INDEX", "$AWS_BATCH_JOB_ARRAY_INDEX"), attempts=5)
    whole = _job("eo-merge", MERGE, attempts=1)
    return {"slurm.sh": slurm, "aws_batch.md": Template(AWS_BATCH).substitute(embed=embed, whole=whole)}


def _job(name: str, command: str, attempts: int) -> str:
    return Template(JOB).substitute(name=name, command=command.replace('"', '\\"'), attempts=attempts)


def main() -> None:
    """Write them."""
    for name, text in templates().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
