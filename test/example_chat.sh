#!/bin/sh
# test/example_chat.sh CHAT - build/chat with nc and socat as its members
program=$(realpath "$1")
. "$(realpath "${0%/*}")/tap.sh"

# join NAME: a member in the background, whose process is $member. It says what
# is written to NAME.in, and what it hears is in NAME.out.
join() {
    mkfifo "$1.in"
    in_background sleep 1000 1<>"$1.in"
    in_background nc 127.0.0.1 "$port" <"$1.in" >"$1.out"
    member=$!
    echo "/name $1" >"$1.in"
    wait_until grep -q "is now $1" "$1.out"
}

hears() {
    wait_until grep -qxF -- "$2" "$1.out"
}

members_hear_each_other() {
    has nc || return
    join ann && join bob || return 1
    echo "hello, all" >ann.in
    hears bob "ann: hello, all" || return 1
    echo "hello, ann" >bob.in
    hears ann "bob: hello, ann" && ! grep -q "ann: hello" ann.out
}

names_are_checked() {
    has nc || return
    echo "/name two words" >ann.in
    wait_until grep -q "names have no blanks" ann.out
}

a_leave_is_told() {
    has nc || return
    echo "only one line" | timeout 20 nc -N 127.0.0.1 "$port" >out.once
    wait_until grep -q "guest3: only one line" ann.out &&
        hears ann "* guest3 left"
}

garbage_is_harmless() {
    has nc || return
    head -c 1000000 /dev/urandom | timeout 20 nc -N 127.0.0.1 "$port" >out.once
    hears ann "* guest4 left" || return 1
    echo "still here" >bob.in
    hears ann "bob: still here" || return 1
    # Of control characters there is only the end of a line, and tabs.
    [ "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <ann.out | wc -c)" -eq 0 ]
}

long_lines_are_cut() {
    has nc || return
    head -c 5000 /dev/zero | tr '\0' x >bob.in
    echo >bob.in
    hears ann "bob: $(head -c 1000 /dev/zero | tr '\0' x)"
}

# Says what it reads, and closes when the server does: closing earlier, with
# something unread, would reset the connection, and the end would be lost.
pour() {
    timeout 50 socat -t 20 - "TCP:127.0.0.1:$port" >out.pour
}

flood() {
    has nc socat || return
    memory=$(memory)
    [ "$memory" ] || return 77
    join cat || return 1
    kill -STOP "$member"
    yes "a line of a flood, which is as long as a line may well be" |
        head -n 500000 | pour
    echo "# $(($(memory) - memory)) KiB more than before"
    [ $(($(memory) - memory)) -lt 8192 ]
}

others_are_heard() {
    has nc socat || return
    # It may be that bob has still to catch up.
    wait_until sh -c 'echo "the end" >ann.in; grep -q "ann: the end" bob.out'
}

# Whoever reads again hears what had waited, how much was missed, and what is
# said from then on.
is_told() {
    has nc socat || return
    [ "$(memory)" ] || return 77
    kill -CONT "$member"
    # As long as it has not caught up it misses that, too.
    wait_until sh -c \
        'echo "welcome back" >ann.in; grep -q "welcome back" cat.out' || return 1
    missed=$(awk '/you missed/ { sum += $4 } END { print sum }' cat.out)
    heard=$(grep -c "a line of a flood" cat.out)
    echo "# $heard lines of the flood heard, $missed missed"
    [ "$heard" -gt 0 ] && [ $((heard + missed)) -ge 500000 ] &&
        [ $((heard + missed)) -le 501000 ]
}

ends_while_one_does_not_read() {
    has nc socat || return
    kill -STOP "$member"
    yes "once more" | head -n 300000 | pour
    ends_with TERM 0 "[1-9][0-9]* members, [1-9][0-9]* lines, [1-9][0-9]* missed"
}

says_hello_by_socat() {
    has socat || return
    echo "from a file" | timeout 20 socat -t 20 - UNIX-CONNECT:c.sock >out.once
    grep -q "came" out.once
}

a_member_is_there() {
    has nc || return
    in_background sleep 1000 1<>one.in
    in_background nc -U c.sock <one.in >one.out
    wait_until grep -q "came" one.out
}

member_has_been_told() {
    has nc || return
    wait_until grep -q "the server ends" one.out
}

plan 18

serve "$program" 127.0.0.1:0
is "it says where it listens" \
    grep -q "^listening at 127.0.0.1:[1-9][0-9]*$" server.out
is "members hear each other, but not themselves" members_hear_each_other
is "not everything is a name" names_are_checked
is "it is told who leaves" a_leave_is_told
is "garbage is harmless" garbage_is_harmless
is "a line that is too long is cut" long_lines_are_cut
is "a member that does not read costs no memory" flood
is "and the others hear each other" others_are_heard
is "when it reads again it is told how much it missed" is_told
is "SIGTERM ends it, though a member does not read" ends_while_one_does_not_read

serve "$program" -q 1 unix:c.sock
is "it listens at a Unix domain socket, too" says_hello_by_socat
run unix:c.sock
is "an address in use is an error" \
    fails_with 1 "chat: unix:c.sock: Address already in use"
is "a member is there" a_member_is_there
is "SIGINT ends it while a member is connected" ends_with INT 0 "members"
is "the member has been told" member_has_been_told

run
is "no address is an error" fails_with 2 "exactly one ADDRESS"
run -q none 127.0.0.1:0
is "a wrong number is an error" fails_with 2 "-q takes a number"
run localhost
is "a wrong address is an error" fails_with 2 "'localhost' is no address"
