#!/bin/bash
# A Ray cluster over the nodes of an allocation, and a run on all of them. A job that is stopped and submitted again goes on.
#   sbatch --nodes=4 docs/examples/slurm_ray.sh my-link.yaml --out runs/my-link
#SBATCH --job-name=linksim
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -eu
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token # nobody else on these nodes may use the cluster
RAY_AUTH_TOKEN="$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_TOKEN
head="$(scontrol show hostnames "${SLURM_JOB_NODELIST:?submit with sbatch}" | head -n 1)"
address="$(getent ahostsv4 "$head" | awk 'NR == 1 { print $1 }'):$((20000 + SLURM_JOB_ID % 20000))"
cpus="${SLURM_CPUS_PER_TASK:-1}"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap ray start --head --block --num-cpus="$cpus" \
  --port="${address##*:}" --temp-dir="/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false > /dev/null &
first=$!
until ray status --address "$address" > /dev/null 2>&1; do
  kill -0 "$first" 2> /dev/null || { echo "no Ray on $head" >&2; exit 1; }
  sleep 2
done
others=$((${SLURM_JOB_NUM_NODES:-1} - 1))
if [ "$others" -gt 0 ]; then # nodes that are ready later join later
  srun --nodes="$others" --ntasks="$others" --exclude="$head" --overlap ray start --block \
    --address="$address" --num-cpus="$cpus" > /dev/null &
fi

linksim simulate "$@" --ray "$address" &
driver=$!
trap 'kill -TERM "$driver"' TERM # the end of the allocation is near: the run stops in order
code=0
wait "$driver" || { code=$?; wait "$driver" || code=$?; }
exit "$code"
