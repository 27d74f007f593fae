#!/bin/sh
# Installs the real servers that tests start, where this user may; elsewhere says what is missing.
# Debian starts some of them as services when installed: a policy file keeps them down.
set -u
packages="gcc prometheus slurm-wlm munge iproute2 prometheus-alertmanager prometheus-node-exporter victoria-metrics chromium systemd systemd-container docker-compose shellcheck tmux zsh fish"
programs="cc slurmctld munged ip prometheus promtool prometheus-alertmanager amtool prometheus-node-exporter victoria-metrics chromium systemd-analyze systemd-nspawn docker-compose shellcheck tmux zsh fish"
missing=""
for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    policy=/usr/sbin/policy-rc.d
    made=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of words
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages libc6-dev >/dev/null
    status=$?
    [ -n "$made" ] && rm -f "$policy"
    [ "$status" = 0 ] && exit 0
fi
echo "not here:$missing; tests that need them are skipped. On Debian, as root: apt-get install $packages" >&2
[ -z "${CI:-}" ]
