#!/bin/sh
# The shards of a study as a Slurm array, then one job that joins them in OUTPUT/whole when all have ended well:
#   sbatch --array=1-16 docs/slurm-study.sh STUDY.toml OUTPUT
# The first shard submits that job, dependent on the array; where it cannot, it prints the command that joins.
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

# As a shell reads it back.
quoted() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

study=$1
output=$2
shards=${SLURM_ARRAY_TASK_COUNT:-1}
shard=${SLURM_ARRAY_TASK_ID:-1}

# Arrays that do not begin at 1, or leave numbers out, would leave out parts of the study.
if [ "${SLURM_ARRAY_TASK_MIN:-1}" -ne 1 ] || [ "${SLURM_ARRAY_TASK_MAX:-1}" -ne "$shards" ]; then
    echo "give the array as 1-N" >&2
    exit 2
fi

# The array again, when it goes on after a stop, has its joining job already.
if [ "$shard" -eq 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then
    join="isochrone sim merge $(quoted "$output")/shard-* --output $(quoted "$output")/whole"
    if ! sbatch --job-name=isochrone-join --nodes=1 --ntasks=1 --cpus-per-task=1 --time=01:00:00 \
        --dependency="afterok:${SLURM_ARRAY_JOB_ID:-none}" --kill-on-invalid-dep=yes --wrap="$join"; then
        echo "no job that joins the shards could be submitted; when all have ended: $join" >&2
    fi
fi

exec isochrone sim study "$study" --shard "$shard/$shards" --resume \
    --threads "${SLURM_CPUS_PER_TASK:-1}" --output "$output/shard-$shard"
