#!/bin/bash
# One part of a run per task of an array; a task that is stopped and submitted again goes on.
#   sbatch --array=1-32 docs/examples/slurm_array.sh my-link.yaml
#   linksim merge parts/* --out runs/my-link
#SBATCH --job-name=linksim
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -eu
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
part="${SLURM_ARRAY_TASK_ID:?submit with --array=1-N}"
exec linksim simulate "$1" --shard "$part/${SLURM_ARRAY_TASK_COUNT:?submit with --array=1-N}" \
  --out "parts/$part" --no-report "${@:2}"
