#!/usr/bin/env bash
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
export CONFIG=${1:?a config}
export OUT=${2:?a folder}
export SHARDS=${SHARDS:-8}
ARRAY=(--job-name=embed --array=0-$((SHARDS - 1)) --cpus-per-task=4 --mem=8G --time=24:00:00 --requeue)
WHOLE=(--job-name=merge --cpus-per-task=2 --mem=8G --time=04:00:00)

array=$(sbatch --parsable "${ARRAY[@]}" --wrap='terratorch predict --config "$CONFIG" --model.init_args.out="$OUT" --model.init_args.take_over=true --data.init_args.shard.index="$SLURM_ARRAY_TASK_ID" --data.init_args.shard.of="$SHARDS"')
sbatch --parsable "${WHOLE[@]}" --dependency="afterany:$array" --wrap='python -m eo_embed.merge "$OUT" --take-over'
