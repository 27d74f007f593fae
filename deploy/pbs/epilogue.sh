#!/bin/sh
# PBS epilogue: reports to gpumon when a job gave its GPUs back. The first argument is the job's id.
# Never fails: see prologue.sh.
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
writer=${GPUMON_JOB_WRITER:-/usr/local/libexec/gpumon-job.sh}
case ${1:-} in
    '' | */*) exit 0 ;;
esac
"$writer" end manager=pbs "job_id=$1" || echo "gpumon: $writer cannot be run" >&2
exit 0
