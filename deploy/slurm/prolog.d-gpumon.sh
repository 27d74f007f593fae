#!/bin/sh
# Slurm prolog: reports to gpumon which GPUs a job has on this node, and since when.
# slurm.conf: Prolog=/etc/slurm/prolog.d/* Epilog=/etc/slurm/epilog.d/* PrologFlags=Alloc
#
# A prolog that fails drains its node, so this one never does, whatever happens.
folder=${GPUMON_JOBS_DIR:-/run/gpumon/jobs}
gpus=${SLURM_JOB_GPUS:-${GPU_DEVICE_ORDINAL:-}}
[ -n "$SLURM_JOB_ID" ] && [ -n "$gpus" ] || exit 0

# A job's name is its user's text: no control characters, not endless, and JSON's two escapes.
quoted() {
    printf '%s' "$1" | tr -d '\000-\037\177' | cut -b 1-256 | sed 's/[\\"]/\\&/g'
}

umask 022
mkdir -p "$folder" || exit 0
new="$folder/.$SLURM_JOB_ID.$$"
# Written aside and renamed: a reader sees the whole file or none.
if ! printf '{"schema": 1, "manager": "slurm", "job_id": "%s", "user": "%s", "account": "%s", "partition": "%s", "name": "%s", "array_job_id": "%s", "array_task_id": "%s", "gpus": "%s", "began": %s}\n' \
    "$SLURM_JOB_ID" "$(quoted "$SLURM_JOB_USER")" "$(quoted "$SLURM_JOB_ACCOUNT")" \
    "$(quoted "$SLURM_JOB_PARTITION")" "$(quoted "$SLURM_JOB_NAME")" \
    "$(quoted "$SLURM_ARRAY_JOB_ID")" "$(quoted "$SLURM_ARRAY_TASK_ID")" \
    "$(quoted "$gpus")" "$(date +%s.%N)" >"$new" ||
    ! mv -f "$new" "$folder/$SLURM_JOB_ID.json"; then
    rm -f "$new"
fi
exit 0
