#!/bin/sh
# test/example_udp-echo.sh UDP-ECHO - build/udp-echo with clients as there are
program=$(realpath "$1")
. "$(realpath "${0%/*}")/tap.sh"

# ask ADDRESS TEXT: prints the answer. socat ends when none comes for a second.
ask() {
    printf %s "$2" | timeout 20 socat -b 65536 -T 1 -t 1 - "$1"
}

# On a machine that is busy an answer may come too late, as with all of UDP.
at_last() {
    "$@" || "$@" || "$@"
}

is_answered() {
    [ "$(ask "$1" "hello $1")" = "hello $1" ]
}

answers() {
    has socat || return
    at_last is_answered "$1"
}

ipv6_answers() {
    has socat || return
    grep -q . /proc/net/if_inet6 || {
        why="no IPv6 here"
        return 77
    }
    answers "$1"
}

is_large_one_back() {
    timeout 20 socat -b 65536 -T 1 -t 1 - "UDP:127.0.0.1:$port" \
        <large >got && cmp -s large got
}

a_large_one_comes_back() {
    has socat || return
    head -c 60000 /dev/urandom >large
    at_last is_large_one_back
}

each_gets_its_own() {
    clients=
    for i in 1 2 3 4 5 6 7 8; do
        ask "UDP:127.0.0.1:$port" "this is $i" >"got$i" &
        clients="$clients $!"
    done
    for client in $clients; do
        wait "$client" || return 1
    done
    for i in 1 2 3 4 5 6 7 8; do
        [ "$(cat "got$i")" = "this is $i" ] || return 1
    done
}

all_at_once() {
    has socat || return
    at_last each_gets_its_own
}

# Without any client but the shell. A datagram is read at once, or cut off.
bash_gets_an_answer() {
    has bash || return
    timeout 20 bash -c '
        exec 3<>"/dev/udp/127.0.0.1/$1" || exit 1
        for try in 1 2 3 4 5; do
            printf "hello, bash\n" >&3
            answer=$(timeout 2 dd bs=100 count=1 2>/dev/null <&3) && break
        done
        [ "$answer" = "hello, bash" ]' bash "$port"
}

plan 16

serve "$program" 127.0.0.1:0
is "it says where it listens" \
    grep -q "^listening at 127.0.0.1:[1-9][0-9]*$" server.out
is "the shell gets its line back" bash_gets_an_answer
is "socat gets its line back" answers "UDP:127.0.0.1:$port"
is "60000 bytes come back as one" a_large_one_comes_back
is "eight clients each get their own" all_at_once
run "127.0.0.1:$port"
is "an address in use is an error" \
    fails_with 1 "udp-echo: 127.0.0.1:$port: Address already in use"
is "SIGTERM ends it with totals" \
    ends_with TERM 0 "^[1-9][0-9]* datagrams, [1-9][0-9]* bytes, 0 dropped"

serve "$program" '*:0' 127.0.0.1:0
is "with *, IPv4 is answered" answers "UDP4:127.0.0.1:$port"
is "with *, IPv6 is answered" ipv6_answers "UDP6:[::1]:$port"
second=$(sed -n '2s/.*://p' server.out)
is "a second address is answered, too" answers "UDP:127.0.0.1:$second"
is "SIGINT ends it with totals" ends_with INT 0 "datagrams"

run
is "no address is an error" fails_with 2 "no ADDRESS given"
run localhost:7007
is "a name is no address" fails_with 2 "'localhost:7007' is no address"
run unix:/tmp/me
is "UDP knows no Unix domain sockets" \
    fails_with 1 "Address family not supported"
run 192.0.2.1:0
is "an address of another machine is an error" \
    fails_with 1 "192.0.2.1:0: Cannot assign requested address"
run --help
is "--help helps" grep -q '^usage' out
