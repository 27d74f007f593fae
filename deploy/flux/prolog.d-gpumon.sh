#!/bin/sh
# Flux prolog: reports to gpumon which GPUs a job has on this node, and since when.
# See docs/workloads.md; deploy/jobs/gpumon-job.sh has to be installed. It runs on each of the job's
# nodes (per-rank = true) as /etc/flux/system/prolog.d/gpumon.sh.
#
# FLUX_JOB_ID and FLUX_JOB_USERID: flux-environment(7), "SYSTEM SCRIPTS". The GPUs are those that the
# scheduler put into the job's R for this broker's rank, in short form "rank0/core[0-3],gpu[0-1]"
# (github.com/flux-framework/flux-core, src/cmd/flux-R.c). Flux counts them in PCI order and sets
# CUDA_DEVICE_ORDER=PCI_BUS_ID for the job (src/shell/gpubind.c), as the driver's indices do.
#
# A prolog that fails ends its job and drains the node, so this one never does.
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
writer=${GPUMON_JOB_WRITER:-/usr/local/libexec/gpumon-job.sh}
[ -n "${FLUX_JOB_ID:-}" ] || exit 0

ask() {
    timeout -k 2 10 flux "$@" </dev/null 2>/dev/null
}

# The form that can be typed: f…, for which Flux also writes ƒ… (RFC 19, f58plain).
florin=$(printf '\306\222')
job=$FLUX_JOB_ID
case $job in
    "$florin"*) job=f${job#"$florin"} ;;
esac

held() {
    rank=$(ask getattr rank) || return 1
    resources=$(ask job info "$FLUX_JOB_ID" R) || return 1
    printf '%s\n' "$resources" |
        timeout -k 2 10 flux R decode --include "$rank" --short 2>/dev/null
}

if ! here=$(held); then
    echo "gpumon: flux does not say which GPUs job $job has" >&2
    exit 0
fi
gpus=$(printf '%s\n' "$here" | sed -n 's/.*[/,]gpu\[\{0,1\}\([0-9,-]*\).*/\1/p')
[ -n "$gpus" ] || exit 0

# One question each: a bank or a name may contain any separator.
"$writer" begin manager=flux "job_id=$job" "gpus=$gpus" numbers=index \
    "user=$(id -nu "${FLUX_JOB_USERID:-}" 2>/dev/null || echo "${FLUX_JOB_USERID:-}")" \
    "name=$(ask jobs -n -o '{name}' "$FLUX_JOB_ID")" \
    "partition=$(ask jobs -n -o '{queue}' "$FLUX_JOB_ID")" \
    "account=$(ask jobs -n -o '{bank}' "$FLUX_JOB_ID")" ||
    echo "gpumon: $writer cannot be run" >&2
exit 0
