#!/bin/sh
# Slurm epilog: drains the node where a GPU of the job that has ended fails a check. Never fails itself.
/etc/slurm/gpumon-node-check.sh epilog || true
