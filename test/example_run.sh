#!/bin/sh
# test/example_run.sh RUN - build/run, used as a newcomer would
#
# TAP on standard output, as the C tests.
run=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
number=0

# is NAME COMMAND...: the test passes if the command succeeds.
is() {
    name=$1
    shift
    number=$((number + 1))
    if "$@"; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# out: /' out 2>/dev/null
        sed 's/^/# err: /' err 2>/dev/null
    fi
}

# run ARGS...: leaves its output in out and err, its status in $status.
run() {
    "$run" "$@" >out 2>err </dev/null
    status=$?
}

# With pids as N.
out_is() {
    sed 's/\[[0-9]*\]/[N]/' out >out.n
    printf '%b' "$1" | cmp -s - out.n
}

fails_with() {
    [ "$status" -eq "$1" ] && grep -qF -- "$2" err
}

# until_said WORD FILE: waits until it is in there.
until_said() {
    until grep -qs -- "$1" "$2"; do
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
}

# told SIGNAL WORD FILE ARGS...: sends it the signal when WORD is in FILE.
told() {
    signal=$1 word=$2 file=$3
    shift 3
    rm -f out err
    "$run" "$@" >out 2>err </dev/null &
    pid=$!
    until_said "$word" "$file"
    kill "-$signal" "$pid"
    wait "$pid"
    status=$?
}

echo 1..21

run echo hello
is "a command that goes well is run once" [ "$status" -eq 0 ]
is "each line has name and pid in front" out_is 'echo[N] hello\n'
is "nothing is said about what goes well" [ ! -s err ]

run printf 'a\n\nb'
is "a line that is not ended is" out_is 'printf[N] a\nprintf[N] \nprintf[N] b\n'

run sh -c 'echo to err >&2'
is "standard error stays standard error" \
    sh -c '[ ! -s out ] && grep -q "^sh\[[0-9]*\] to err$" err'

run head -c 300000 /dev/zero
is "much output arrives whole" [ "$(tr -d -c '\0' <out | wc -c)" -eq 300000 ]

echo typed >in
"$run" cat <in >out 2>err
is "the command reads standard input" out_is 'cat[N] typed\n'

run -n 2 -b 1 sh -c 'echo again; exit 3'
is "what fails is started again" [ "$(grep -c again out)" -eq 3 ]
is "so many times and no more" fails_with 3 "giving up"
is "after a pause that doubles" sh -c \
    'grep -q "restart 1 of 2 in 0.001 s" err &&
     grep -q "restart 2 of 2 in 0.002 s" err'

run -n 5 -b 1 sh -c 'echo x >>tries; [ "$(wc -l <tries)" -eq 3 ]'
is "until it goes well" \
    sh -c "[ $status -eq 0 ] && [ \$(wc -l <tries) -eq 3 ]"

run -n 0 sh -c 'kill -KILL $$'
is "a signal is a failure, with the status of a shell" fails_with 137 "giving up"

run ./missing
is "a command that is missing is an error at once" \
    fails_with 127 "./missing: No such file"
echo hello >plain
run ./plain
is "so is one that cannot be executed" fails_with 126 "./plain: Permission"

# Its sleeping child has the output, but not for ever.
run sh -c 'sleep 100 & echo $! >sleeper; echo done'
is "it does not wait for what the command leaves behind" \
    out_is 'sh[N] done\n'
kill "$(cat sleeper)"

told TERM ready out sh -c 'trap "echo bye; exit 4" TERM
    echo ready; while :; do sleep 0.05; done'
is "when told to end, the command is, and not started again" \
    sh -c "[ $status -eq 4 ] && grep -q bye out && [ \$(grep -c ready out) = 1 ]"
told INT ready out sh -c 'echo ready; exec sleep 100'
is "so it is by ctrl-C" [ "$status" -eq 143 ]
told TERM ready out -g 50 sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
is "one that does not end is killed after a time of grace" \
    fails_with 137 "does not end"
told TERM "restart 1" err -b 1000000 sh -c 'echo ready; exit 3'
is "the pause before a restart ends, too" [ "$status" -eq 3 ]

run
is "no command is an error" fails_with 2 "no COMMAND given"
run -n many true
is "a wrong number is an error" fails_with 2 "-n takes a number"
