#!/bin/sh
# Flux epilog: reports to gpumon when a job gave its GPUs back. It runs on each of the job's nodes as
# /etc/flux/system/epilog.d/gpumon.sh. Never fails: see prolog.d-gpumon.sh.
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
writer=${GPUMON_JOB_WRITER:-/usr/local/libexec/gpumon-job.sh}
[ -n "${FLUX_JOB_ID:-}" ] || exit 0

florin=$(printf '\306\222')
job=$FLUX_JOB_ID
case $job in
    "$florin"*) job=f${job#"$florin"} ;;
esac
"$writer" end manager=flux "job_id=$job" || echo "gpumon: $writer cannot be run" >&2
exit 0
