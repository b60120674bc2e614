#!/bin/sh
# test/example_tail.sh TAIL - build/tail, used as a newcomer would
program=$(realpath "$1")
. "${0%/*}/tap.sh"

out_is() {
    printf '%b' "$1" | cmp -s - out
}

# follow ARGS...: in the background; its process is $pid.
follow() {
    : >out
    : >err
    "$program" "$@" >out 2>err </dev/null &
    pid=$!
    pids="$pids $pid"
}

says() {
    wait_until grep -q -- "$1" out
}

complains() {
    wait_until grep -q -- "$1" err
}

# ends SIGNAL STATUS: told to.
ends() {
    kill "-$1" "$pid"
    wait "$pid"
    status=$?
    [ $status -eq "$2" ]
}

plan 28

seq 1 20 >twenty
run twenty
is "the last ten lines" out_is '11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n'
run -n 2 twenty
is "or as many as wanted" out_is '19\n20\n'
run -n 0 twenty
is "which may be none" out_is ''
run -n 100 twenty
is "or more than there are" cmp -s twenty out
printf 'a\nb\nc' >unended
run -n 2 unended
is "a line that is not ended counts" out_is 'b\nc'
seq 1 100000 >long
run -n 50000 long
is "of a long file" sh -c 'tail -n 50000 long | cmp -s - out'
run -n 1 twenty unended
is "several files have their names" \
    out_is '==> twenty <==\n20\n\n==> unended <==\nc'
run -n 1 missing twenty
is "one that is missing is an error" fails_with 1 "missing: No such file"
is "but the others are shown" out_is '==> twenty <==\n20\n'
run
is "no file is an error" fails_with 2 "no FILE given"
run -n many twenty
is "so is a wrong number" fails_with 2 "-n takes a number"

echo first >log
follow -f log
is "what is there is shown" says first
echo second >>log
is "what is added follows" says second
mv log log.1
echo late >>log.1
echo third >log
is "rotated: the new file follows" says third
is "and that is told" complains "log: "
echo fourth >>log
is "what is added to that, too" says fourth
: >log
is "truncated: that is told" complains "log: truncated"
echo fifth >>log
is "and what comes then" says fifth
rm log
is "removed: it is waited for" complains "gone, waiting"
echo sixth >log
is "and shown when it is there again" says sixth
echo seventh >log.new
mv log.new log
is "replaced by another" says seventh
is "SIGINT ends it" ends INT 0
is "nothing is shown twice, nothing is left out" sh -c \
    'sort out | uniq -d | grep -q . && exit 1
     for each in first second third fourth fifth sixth seventh; do
         grep -q $each out || exit 1
     done'

mkdir sub
follow -n 0 -f sub/new log
is "a file may come later" complains "sub/new: not there, waiting"
echo eighth >sub/new
is "and is shown then" says eighth
rm -r sub
is "when its directory goes that is told" complains "sub/new: its directory is gone"
echo ninth >>log
is "and the others are followed" says ninth
is "which is no success" ends TERM 1
