#!/bin/sh
# Slurm prolog: refuses a job whose GPUs fail a check. The node is drained with the reason, and the job
# goes back into the queue (held, unless SchedulerParameters has nohold_on_prolog_fail).
#
# A prolog that fails drains its node: this one fails only if a check did (10), never because it is missing.
code=0
/etc/slurm/gpumon-node-check.sh prolog || code=$?
[ "$code" != 10 ]
