#!/bin/sh
# Slurm epilog: reports to gpumon when a job gave its GPUs back. Never fails: that would drain the node.
folder=${GPUMON_JOBS_DIR:-/run/gpumon/jobs}
file="$folder/$SLURM_JOB_ID.json"
# Of two clusters with a job of the same number, the later one has a file of its own.
cluster="\"cluster\": \"$SLURM_CLUSTER_NAME\""
if [ ! -f "$file" ] || { grep -qs '"cluster": "[^"]' "$file" && ! grep -qsF "$cluster" "$file"; }; then
    file="$folder/$(printf '%s' "$SLURM_CLUSTER_NAME" | tr -c '0-9A-Za-z_-' '_').$SLURM_JOB_ID.json"
fi
if [ -n "$SLURM_JOB_ID" ] && [ -f "$file" ]; then
    new="$folder/.$SLURM_JOB_ID.$$"
    if ! sed "s/}\$/, \"ended\": $(date +%s.%N)}/" "$file" >"$new" || ! mv -f "$new" "$file"; then
        rm -f "$new"
    fi
fi
# The agent has seen those that ended an hour ago. The end is what a line ends with: nothing that a user
# wrote stands there, and a job may be called "ended".
find "$folder" -maxdepth 1 -type f -mmin +60 \
    -exec grep -ls '"\(ended\|until\)": [0-9.]*}$' {} + 2>/dev/null | while read -r old; do
    rm -f "$old"
done
exit 0
