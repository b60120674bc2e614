#!/bin/sh
# test/example_readfile.sh READFILE - build/readfile, used as a newcomer would
#
# TAP on standard output, as the C tests.
readfile=$(realpath "$1")
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
    "$readfile" "$@" >out 2>err </dev/null
    status=$?
}

fails_with() {
    [ "$status" -eq "$1" ] && grep -qF -- "$2" err
}

# Whether the files named say nothing but that: one line.
is_one_line() {
    [ "$(wc -l <"$1")" -eq 1 ]
}

both_forms_agree() {
    [ "$status" -eq 0 ] && [ ! -s err ] &&
        [ "$(grep -c "$1 bytes, checksum" out)" -eq 2 ] &&
        [ "$(sed -n 's/.*checksum //p' out | sort -u | wc -l)" -eq 1 ]
}

says_in_order() {
    last=0
    for word; do
        line=$(sed -n '/readFile(path, callback)/,$p' out |
            grep -n -m 1 -F -- "$word" | cut -d: -f1)
        [ "${line:-0}" -gt "$last" ] || return 1
        last=$line
    done
}

echo 1..21

printf 'hello, eddy\n' >hello
printf '' >empty
head -c 3000000 /dev/urandom >big

run hello
is "both forms read the same" both_forms_agree 12
is "it says which way the file went" \
    grep -qE "read in the loop, from the page cache|read by worker [0-9]" out
if grep -q "openat2$" out; then
    is "the loop reads by itself what is in the page cache" \
        says_in_order "openat2" "fstat: size 12" "preadv2: 12 bytes" "close" \
        "submit" "message queued" "  callback" "read in the loop"
else
    is "the loop reads by itself # SKIP it cannot tell what it can" true
fi

run --pool hello
is "with --pool both forms read the same" both_forms_agree 12
is "the timeline follows the read through worker, queue and callback" \
    says_in_order "submit" "picked up by worker" "open" "fstat: size 12" \
    "read: 12 bytes" "close" "message queued" "  callback" "read by worker"

run empty
is "an empty file has a size of 0" both_forms_agree 0

run big hello empty
is "several files are all read" [ "$(grep -c checksum out)" -eq 6 ]

run --cat big
is "--cat writes the contents to standard output" cmp -s out big
is "--cat writes the timeline to standard error" grep -q "message queued" err

run --sync hello
is "--sync reads on the main thread alone" \
    sh -c 'grep -q readFileSync out && ! grep -q callback out'

run --async --workers 1 big hello
is "--async reads through the pool alone" \
    sh -c 'grep -q callback out && ! grep -q readFileSync out'
is "--workers 1 has one worker" \
    sh -c '[ "$(grep -o "by worker [0-9]*" out | sort -u | wc -l)" -eq 1 ]'

run missing hello
is "a missing file is one line, the others are read, the status is 1" \
    sh -c "[ $status -eq 1 ] && [ \$(wc -l <err) -eq 1 ] &&
        grep -q '^readfile: missing: No such file' err &&
        grep -q '12 bytes' out"

run .
is "a directory is refused" fails_with 1 "readfile: .: Is a directory"

if [ -r /proc/self/mem ]; then
    run /proc/self/mem hello
    is "a disk that cannot be read is an error" \
        fails_with 1 "readfile: /proc/self/mem: Input/output error"
else
    is "a disk that cannot be read is an error # SKIP no /proc" true
fi

cp hello secret
chmod 000 secret
if [ "$(id -u)" -ne 0 ]; then
    run secret
elif command -v setpriv >/dev/null; then
    chmod 755 .
    setpriv --reuid=65534 --clear-groups "$readfile" secret >out 2>err
    status=$?
else
    status=skip
fi
if [ "$status" = skip ] || [ "$status" -ge 126 ]; then
    is "a file without permission is refused # SKIP cannot stop being root" true
else
    is "a file without permission is refused" \
        fails_with 1 "readfile: secret: Permission denied"
fi

run
is "no file is an error" fails_with 2 "no FILE given"
run --workers many hello
is "a wrong number of workers is an error" fails_with 2 "--workers takes"
run --wrong hello
is "an unknown option is an error" fails_with 2 "wrong"

# A FIFO that nobody writes to keeps a worker, or the main thread, for ever.
interrupted() {
    mkfifo "$1"
    "$readfile" "--$1" "$1" >out 2>err &
    pid=$!
    # Background jobs of a shell ignore SIGINT; the program asks for it anew.
    sleep 0.5
    kill -INT $pid
    wait $pid
    [ $? -eq 130 ] && is_one_line err && grep -q interrupted err
}
is "ctrl-C ends it while a worker is stuck" interrupted async
is "ctrl-C ends it while the main thread is stuck" interrupted sync
