#!/bin/sh
# Slurm prolog: reports to gpumon which GPUs a job has on this node, and since when.
# slurm.conf: Prolog=/etc/slurm/prolog.d/* Epilog=/etc/slurm/epilog.d/* PrologFlags=Alloc
#
# A prolog that fails drains its node, so this one never does, whatever happens.
folder=${GPUMON_JOBS_DIR:-/run/gpumon/jobs}
# Slurm's own numbers, which count the devices of gres.conf: gpumon looks up which GPUs they mean. Up to
# Slurm 20.11 there is only the other variable, with the N of /dev/nvidiaN.
gpus=${SLURM_JOB_GPUS:-${GPU_DEVICE_ORDINAL:-}}
[ -n "$SLURM_JOB_ID" ] && [ -n "$gpus" ] || exit 0
more=
[ -n "${SLURM_JOB_GPUS:-}" ] || more=', "numbers": "minor"'
# slurmd names those by UUID that it has found itself: MIG instances, and since 25.11 whole GPUs.
case ${CUDA_VISIBLE_DEVICES:-} in
    *GPU-* | *MIG-*) gpus=$CUDA_VISIBLE_DEVICES ;;
esac

# A job's name is its user's text: no control characters, not endless, and JSON's two escapes.
quoted() {
    printf '%s' "$1" | tr -d '\000-\037\177' | cut -b 1-256 | sed 's/[\\"]/\\&/g'
}

umask 022
mkdir -p "$folder" || exit 0
cluster=$(quoted "$SLURM_CLUSTER_NAME")
file="$folder/$SLURM_JOB_ID.json"
# Two clusters on one node may have a job of the same number.
if [ -n "$cluster" ] && [ -f "$file" ] && ! grep -qF "\"cluster\": \"$cluster\"" "$file"; then
    file="$folder/$(printf '%s' "$SLURM_CLUSTER_NAME" | tr -c '0-9A-Za-z_-' '_').$SLURM_JOB_ID.json"
fi
new="$folder/.$SLURM_JOB_ID.$$"
# Written aside and renamed: a reader sees the whole file or none.
if ! printf '{"schema": 1, "manager": "slurm", "cluster": "%s", "node": "%s", "job_id": "%s", "user": "%s", "account": "%s", "partition": "%s", "name": "%s", "array_job_id": "%s", "array_task_id": "%s", "gpus": "%s"%s, "began": %s}\n' \
    "$cluster" "$(quoted "$SLURMD_NODENAME")" "$SLURM_JOB_ID" "$(quoted "$SLURM_JOB_USER")" \
    "$(quoted "$SLURM_JOB_ACCOUNT")" "$(quoted "$SLURM_JOB_PARTITION")" "$(quoted "$SLURM_JOB_NAME")" \
    "$(quoted "$SLURM_ARRAY_JOB_ID")" "$(quoted "$SLURM_ARRAY_TASK_ID")" \
    "$(quoted "$gpus")" "$more" "$(date +%s.%N)" >"$new" ||
    ! mv -f "$new" "$file"; then
    rm -f "$new"
fi
exit 0
