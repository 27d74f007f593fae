#!/bin/sh
# PBS prologue: reports to gpumon which GPUs a job has on this host, and since when.
# See docs/workloads.md; deploy/jobs/gpumon-job.sh has to be installed.
#
# OpenPBS and PBS Professional give it the job's id, user and group (run_pelog() in
# github.com/openpbs/openpbs/blob/master/src/resmom/prolog.c). Torque also gives the name, the resource
# limits, the queue and the account (docs.adaptivecomputing.com, Torque 6.1.1, appendix G.3.1), and so
# does gpumon_pbs_hook.py.
#
# The job's GPUs are known from one of
#   PBS_HOME/aux/JOB.env    written by the hook pbs_cgroups: CUDA_VISIBLE_DEVICES=GPU-…,GPU-…
#   TORQUE_HOME/aux/JOBgpu  written by Torque, also $PBS_GPUFILE: a line HOST-gpuN for each
#   CUDA_VISIBLE_DEVICES    if a hook of the site has set it for the prologue
# If they are numbers, both count as the driver does (CUDA_DEVICE_ORDER=PCI_BUS_ID).
#
# A prologue that fails requeues or deletes its job, so this one never does.
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
writer=${GPUMON_JOB_WRITER:-/usr/local/libexec/gpumon-job.sh}
job=${1:-}
case $job in
    '' | */*) exit 0 ;;
esac

configured() {
    sed -n "s/^[[:space:]]*$1=//p" "${PBS_CONF_FILE:-/etc/pbs.conf}" 2>/dev/null | tail -n 1
}

# Prints the N of this host's lines HOST-gpuN.
of_torque() {
    here=$(uname -n)
    while read -r line; do
        there=${line%-gpu*}
        if [ "${there%%.*}" = "${here%%.*}" ]; then
            printf '%s,' "${line##*-gpu}"
        fi
    done <"$1"
}

# Prints the job's GPUs here; nothing if it has none.
gpus() {
    for home in "${PBS_MOM_HOME:-$(configured PBS_MOM_HOME)}" "${PBS_HOME:-$(configured PBS_HOME)}" \
        /var/spool/pbs "${TORQUE_HOME:-/var/spool/torque}"; do
        [ -n "$home" ] || continue
        if [ -r "$home/aux/$job.env" ]; then
            sed -n 's/^CUDA_VISIBLE_DEVICES=//p' "$home/aux/$job.env" | tail -n 1
            return
        elif [ -r "$home/aux/${job}gpu" ]; then
            of_torque "$home/aux/${job}gpu"
            return
        fi
    done
    if [ -r "${PBS_GPUFILE:-}" ]; then
        of_torque "$PBS_GPUFILE"
    else
        printf '%s' "${CUDA_VISIBLE_DEVICES:-}"
    fi
}

"$writer" begin manager=pbs "job_id=$job" "gpus=$(gpus)" numbers=index \
    "user=${2:-}" "name=${4:-}" "partition=${6:-}" "account=${7:-}" ||
    echo "gpumon: $writer cannot be run" >&2
exit 0
