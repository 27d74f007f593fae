#!/bin/sh
# Slurm and gpumon check: keeps jobs away from GPUs on which they would fail.
#
#   slurm.conf: HealthCheckProgram=/etc/slurm/gpumon-node-check.sh
#   prolog.d-gpumon-check.sh and epilog.d-gpumon-check.sh call it with "prolog" and "epilog".
#
# A node with a failed check is drained, with the reason "gpumon: GPU 3: ...". A node that is
# already drained is left alone, no matter who drained it. If gpumon itself does not know, nothing is done.
# Settings: /etc/slurm/gpumon-node-check.conf, which is read as shell (docs/checks.md).
#
# Exits with 10 if the prolog must refuse the job: any other code is a mistake of ours, for which no job
# is refused.
set -eu
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH

GPUMON=gpumon            # the program
CHECK_ARGS=              # more for gpumon check, such as "--level warn --skip limit"
CHECK_TIMEOUT=10         # whole seconds that the driver may take to respond, if no agent runs
DRAIN_UNKNOWN=no         # yes: also drain if the result is not known
RESUME=no                # yes: resume a node that this script has drained, once all checks pass
NODE=${SLURMD_NODENAME:-$(hostname -s)}
settings=/etc/slurm/gpumon-node-check.conf
# shellcheck source=/dev/null
[ ! -r "$settings" ] || . "$settings"

say() {
    echo "gpumon: $1" >&2
}

# Judges; the words are in $said, the exit code of gpumon check in $code. Never hangs.
judge() {
    code=0
    # shellcheck disable=SC2086 # CHECK_ARGS are words
    said=$(timeout -k 2 $((CHECK_TIMEOUT + 10)) "$GPUMON" check -o line \
        --timeout "$CHECK_TIMEOUT" $CHECK_ARGS "$@") || code=$?
    case $code in
        0 | 1) ;;
        3) said="could not tell: $said" ;;
        *) said="could not tell: gpumon check ended with $code: $said" code=3 ;;
    esac
    said=$(printf '%s' "$said" | tr '\n' ' ')
}

# Returns whether the node is already drained or down, no matter who did it; $why is the reason.
drained() {
    shown=$(timeout -k 2 10 scontrol -o show node "$NODE") || return 1
    why=$(printf '%s\n' "$shown" | sed -n 's/.* Reason=\(.*\)/\1/p')
    case $(printf '%s\n' "$shown" | sed -n 's/.* State=\([^ ]*\).*/\1/p') in
        *DRAIN* | DOWN* | FAIL*) return 0 ;;
        *) return 1 ;;
    esac
}

drain() {
    drained && return 0
    say "draining $NODE: $1"
    timeout -k 2 10 scontrol update "nodename=$NODE" state=drain "reason=gpumon: $1" ||
        say "scontrol did not drain $NODE"
}

resume() {
    drained || return 0
    case $why in
        "gpumon: "*)
            say "resuming $NODE, which was drained for: $why"
            timeout -k 2 10 scontrol update "nodename=$NODE" state=resume ||
                say "scontrol did not resume $NODE"
            ;;
    esac
}

# Drains if something is wrong, or if the result is not known and DRAIN_UNKNOWN is set; returns whether it was so.
act() {
    if [ "$code" = 1 ] || { [ "$code" = 3 ] && [ "$DRAIN_UNKNOWN" = yes ]; }; then
        drain "$said"
        return 0
    fi
    [ "$code" = 0 ] || say "$said"
    return 1
}

# Slurm's own numbers, which count the devices of gres.conf; UUIDs of what slurmd has found itself.
# Up to Slurm 20.11 there is only the other variable, with the N of /dev/nvidiaN.
by=--slurm-gpus gpus=${SLURM_JOB_GPUS:-}
[ -n "$gpus" ] || by=--minor gpus=${GPU_DEVICE_ORDINAL:-}
case ${CUDA_VISIBLE_DEVICES:-} in
    *GPU-* | *MIG-*) by=--slurm-gpus gpus=${gpus:+$CUDA_VISIBLE_DEVICES} ;;
esac
case ${1:-health} in
    health)
        judge
        if ! act && [ "$code" = 0 ] && [ "$RESUME" = yes ]; then
            resume
        fi
        ;;
    prolog)
        [ -n "$gpus" ] || exit 0
        judge "$by" "$gpus"
        # Slurm puts the job back into the queue. The node has its reason by now, and keeps it.
        ! act || exit 10
        ;;
    epilog)
        [ -n "$gpus" ] || exit 0
        judge "$by" "$gpus"
        act || true
        ;;
    *)
        say "unknown word $1: health, prolog or epilog"
        exit 2
        ;;
esac
exit 0
