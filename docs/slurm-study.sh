#!/bin/sh
# The shards of a study as a Slurm array, then one job that joins them:
#   sbatch --array=1-16 docs/slurm-study.sh STUDY.toml OUTPUT
# Where nodes have fewer cores than is asked for below, give --cpus-per-task, or the job waits for ever.
# A shard should take minutes at least: starting a task of an array takes up to half a second. A job that was stopped
# goes on where it was when it is submitted again.
#SBATCH --job-name=isochrone-study
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
set -eu

study=$1
output=$2
shards=${SLURM_ARRAY_TASK_COUNT:-1}
shard=${SLURM_ARRAY_TASK_ID:-1}

# Arrays that do not begin at 1, or leave numbers out, would leave out parts of the study.
if [ "${SLURM_ARRAY_TASK_MIN:-1}" -ne 1 ] || [ "${SLURM_ARRAY_TASK_MAX:-1}" -ne "$shards" ]; then
    echo "give the array as 1-N" >&2
    exit 2
fi

exec isochrone sim study "$study" --shard "$shard/$shards" --resume \
    --threads "${SLURM_CPUS_PER_TASK:-1}" --output "$output/shard-$shard"
