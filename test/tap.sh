# test/tap.sh - for tests that are shell scripts: TAP on standard output
#
#     . "${0%/*}/tap.sh"
#     plan 2
#     serve /usr/bin/server -v        starts it; $pid, $address, $port
#     is "it answers" answers
#     is "it ends" ends_with TERM 0 "that was all"
#
# The script runs in a directory of its own, which goes with it, as does what it
# has left running. A test that lacks something returns 77 with $why set, as
# has() does: "has socat || return". What must be waited for is waited for, with
# wait_until.

dir=$(mktemp -d)
pids=
trap 'stop_all; cd /; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
cd "$dir" || exit 1
number=0

# What is freed is to be given back at once, or it counts as used.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"

plan() {
    echo "1..$1"
}

# is NAME COMMAND...: the test passes if the command succeeds.
is() {
    name=$1
    shift
    number=$((number + 1))
    why=
    "$@"
    case $? in
    0) echo "ok $number - $name" ;;
    77) echo "ok $number - $name # SKIP $why" ;;
    *)
        echo "not ok $number - $name"
        for file in server.out server.err out err; do
            sed "s/^/# $file: /" $file 2>/dev/null | cut -c1-200 | tail -n 20
        done
        ;;
    esac
}

has() {
    for tool; do
        command -v "$tool" >/dev/null && continue
        why="no $tool"
        return 77
    done
}

# Tries for 20 seconds.
wait_until() {
    tries=400
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

# in_background COMMAND...: leaves its process in $!. By way of 3, since a shell
# gives what is in the background /dev/null to read.
in_background() {
    { "$@" <&3 3<&- & } 3<&0
    pids="$pids $!"
}

stop_all() {
    for each in $pids; do
        kill -KILL "$each" 2>/dev/null
        kill -CONT "$each" 2>/dev/null
    done
    wait
}

is_over() {
    ! kill -0 "$1" 2>/dev/null
}

# serve PROGRAM ARGS...: in the background, until it says where it listens; its
# output is in server.out and server.err.
serve() {
    : >server.out
    "$@" >server.out 2>server.err </dev/null &
    pid=$!
    pids="$pids $pid"
    wait_until sh -c \
        "grep -q '^listening at' server.out || ! kill -0 $pid 2>/dev/null"
    address=$(sed -n '1s/^listening at //p' server.out)
    port=${address##*:}
}

# ends_with SIGNAL STATUS TEXT: the server ends so, and says TEXT, if any.
ends_with() {
    kill "-$1" "$pid"
    wait "$pid"
    status=$?
    [ $status -eq "$2" ] && grep -q -- "$3" server.out
}

# run ARGS...: the $program; its output in out and err, its status in $status.
run() {
    timeout 20 "$program" "$@" >out 2>err </dev/null
    status=$?
}

fails_with() {
    [ "$status" -eq "$1" ] && grep -qF -- "$2" err
}

# run_unprivileged ARGS...: as run(), by nobody.
run_unprivileged() {
    if [ "$(id -u)" -ne 0 ]; then
        run "$@"
        return
    fi
    has setpriv || return
    chmod 755 .
    touch out err
    setpriv --reuid=65534 --clear-groups \
        timeout 20 "$program" "$@" >out 2>err </dev/null
    status=$?
    why="cannot stop being root"
    [ "$status" -lt 126 ] || return 77
}

# KiB of memory that the server has had at most.
memory() {
    why="no /proc"
    sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null
}

# The bytes that the server has read, if the system counts them.
bytes_read() {
    sed -n 's/^rchar: //p' "/proc/$pid/io" 2>/dev/null
}
