#!/bin/sh
# Writes a job file: which GPUs a job has on this node, and from when until when (docs/workloads.md).
# For the prolog and epilog of any workload manager. Install it as /usr/local/libexec/gpumon-job.sh.
#
#   gpumon-job.sh begin manager=WORD job_id=ID gpus=LIST [numbers=index]
#                       [user=…] [account=…] [partition=…] [name=…]
#   gpumon-job.sh end manager=WORD job_id=ID
#
# LIST is separated by commas: UUIDs (GPU-…, MIG-…), or numbers and ranges of numbers (0,2-3). A number
# is N of /dev/nvidiaN; with numbers=index it is the driver's index, as nvidia-smi and
# CUDA_VISIBLE_DEVICES count.
#
# A prolog that fails may drain its node or end its job, so this never fails: what goes wrong is written
# to stderr and to syslog.
set -f
LC_ALL=C
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export LC_ALL PATH
umask 022
folder=${GPUMON_JOBS_DIR:-/run/gpumon/jobs}

say() {
    echo "gpumon: $1" >&2
    logger -t gpumon -p daemon.warning -- "$1" 2>/dev/null || true
}

give_up() {
    say "$1"
    exit 0
}

# Users name their jobs: no control characters, not endless, and JSON's two escapes.
quoted() {
    printf '%s' "$1" | tr -d '\000-\037\177' | cut -b 1-256 | sed 's/[\\"]/\\&/g'
}

now() {
    moment=$(date +%s.%N)
    case $moment in
        *[!0-9.]*) moment=$(date +%s) ;; # a date that knows no fractions
    esac
    printf '%s' "$moment"
}

# Makes the LIST a list in JSON: UUIDs in quotes, numbers as they are.
listed() {
    list=
    rest=$1,
    while [ -n "$rest" ]; do
        one=${rest%%,*}
        rest=${rest#*,}
        first=${one%%-*}
        last=${one#*-}
        case $one in
            '') continue ;;
            GPU-*[!0-9A-Za-z/-]* | MIG-*[!0-9A-Za-z/-]*) return 1 ;;
            GPU-?* | MIG-?*)
                list="$list, \"$one\""
                continue
                ;;
        esac
        for number in "$first" "$last"; do
            case $number in
                '' | *[!0-9]* | 0?* | ?????*) return 1 ;;
            esac
        done
        [ "$first" -le "$last" ] || return 1
        while [ "$first" -le "$last" ]; do
            list="$list, $first"
            first=$((first + 1))
        done
    done
    printf '[%s]' "${list#, }"
}

# Names the file. Two ids have two names, also those with characters that do not go into one.
named() {
    plain=$(printf '%s' "$1" | tr -c '0-9A-Za-z._-' '_' | cut -b 1-100)
    if [ "$plain" != "$1" ]; then
        plain=$plain-$(printf '%s' "$1" | cksum | cut -d ' ' -f 1)
    fi
    printf '%s-%s' "$manager" "$plain"
}

# Writes stdin to the file, aside first: a reader sees the whole file or none.
write() {
    rm -f "$new"
    if ! (set -C && cat >"$new") || ! mv -f "$new" "$file"; then
        rm -f "$new"
        give_up "cannot write $file: job $job_id is not known to gpumon"
    fi
}

begin() {
    [ -n "$gpus" ] || exit 0
    list=$(listed "$gpus") || give_up "job $job_id: these are not GPUs: $gpus"
    mkdir -p "$folder" || give_up "cannot make $folder: job $job_id is not known to gpumon"
    printf '{"schema": 1, "manager": "%s", "job_id": "%s", "user": "%s", "account": "%s", "partition": "%s", "name": "%s", "gpus": %s, "numbers": "%s", "since": %s}\n' \
        "$manager" "$(quoted "$job_id")" "$(quoted "$user")" "$(quoted "$account")" \
        "$(quoted "$partition")" "$(quoted "$name")" "$list" "$numbers" "$(now)" | write
}

# The agent reads the end and pays by it; the file goes an hour later, when the agent has seen it. The end
# is what the line ends with: nothing that a user wrote stands there.
end() {
    [ -f "$file" ] || exit 0
    if ! grep -q '"until": [0-9.]*}$' "$file"; then
        sed "s/}\$/, \"until\": $(now)}/" "$file" | write
    fi
    find "$folder" -maxdepth 1 -type f -name '*.json' -mmin +60 \
        -exec grep -ls '"\(until\|ended\)": [0-9.]*}$' {} + 2>/dev/null | while read -r old; do
        rm -f "$old"
    done
}

action=${1:-}
[ $# -eq 0 ] || shift
manager='' job_id='' gpus='' numbers=minor user='' account='' partition='' name=''
for pair in "$@"; do
    value=${pair#*=}
    case $pair in
        manager=*) manager=$value ;;
        job_id=*) job_id=$value ;;
        gpus=*) gpus=$value ;;
        numbers=*) numbers=$value ;;
        user=*) user=$value ;;
        account=*) account=$value ;;
        partition=*) partition=$value ;;
        name=*) name=$value ;;
        *) give_up "gpumon-job.sh does not know: $pair" ;;
    esac
done
case $manager in
    '' | *[!0-9a-z_-]* | [!a-z]*) give_up "manager= is a word in lower case, such as pbs" ;;
esac
case $numbers in
    minor | index) ;;
    *) give_up "numbers= is minor or index" ;;
esac
[ -n "$job_id" ] || give_up "job_id= is missing"
file=$folder/$(named "$job_id").json
new=$folder/.$(named "$job_id").$$

case $action in
    begin) begin ;;
    end) end ;;
    *) give_up "gpumon-job.sh begin or end, then manager=…, job_id=… and so on" ;;
esac
exit 0
