#!/bin/sh
# test/example_echo.sh ECHO - build/echo with the clients that everybody has
program=$(realpath "$1")
. "$(realpath "${0%/*}")/tap.sh"

round_trip() {
    has socat || return
    timeout 50 socat -t 20 - "$1" <big >"got$2" && cmp -s big "got$2"
}

all_at_once() {
    has socat || return
    clients=
    for i in 1 2 3 4 5 6; do
        round_trip "TCP:127.0.0.1:$port" $i &
        clients="$clients $!"
    done
    for client in $clients; do
        wait "$client" || return 1
    done
}

nc_gets_its_line_back() {
    has nc || return
    [ "$(echo hello | timeout 20 nc -N 127.0.0.1 "$port")" = hello ]
}

# A client that sends all there is and reads nothing. How much the server takes
# of it depends on the system's buffers; at last it takes no more.
takes_no_more() {
    before=$(bytes_read)
    sleep 0.3
    [ "$(bytes_read)" = "$before" ]
}

is_not_filled() {
    has socat || return
    memory=$(memory)
    [ "$memory" ] && [ "$(bytes_read)" ] || return 77
    in_background socat -u FILE:/dev/zero "TCP:127.0.0.1:$port"
    client=$!
    wait_until takes_no_more && ! is_over "$client" &&
        echo "# $(($(memory) - memory)) KiB more than before" &&
        [ $(($(memory) - memory)) -lt 8192 ]
}

# Connections that stay open, in the background: hold NAME.
hold() {
    mkfifo "$1.in"
    in_background sleep 100 1<>"$1.in"
    in_background nc 127.0.0.1 "$port" <"$1.in" >"$1.out"
    client=$!
    echo "$1" >"$1.in"
}

third_waits() {
    has nc || return
    hold first
    first=$client
    wait_until grep -q first first.out || return 1
    hold second
    wait_until grep -q second second.out || return 1
    hold third
    sleep 0.3
    [ ! -s third.out ] || return 1
    kill "$first"
    wait_until grep -q third third.out
}

# Only reads; ends when the server closes.
silent_one_is_sent_away() {
    has socat || return
    timeout 20 socat -u "TCP:127.0.0.1:$port" - </dev/null
}

is_counted() {
    has socat || return
    ends_with TERM 0 " 1 idle"
}

forty_are_served() {
    has nc || return
    for i in $(seq 40); do
        [ "$(echo "$i" | timeout 20 nc -N 127.0.0.1 "$port")" = "$i" ] ||
            return 1
    done
}

plan 24

head -c 20000000 /dev/urandom >big

serve "$program" 127.0.0.1:0 unix:e.sock
is "it says where it listens" \
    grep -q "^listening at 127.0.0.1:[1-9][0-9]*$" server.out
is "nc gets its line back" nc_gets_its_line_back
is "20 MB come back over TCP" round_trip "TCP:127.0.0.1:$port"
is "20 MB come back over a Unix domain socket" round_trip UNIX-CONNECT:e.sock
is "six clients are served at once" all_at_once
is "a client that does not read fills nobody's memory" is_not_filled
is "others are served meanwhile" round_trip "TCP:127.0.0.1:$port"

run "127.0.0.1:$port"
is "an address in use is an error" \
    fails_with 1 "echo: 127.0.0.1:$port: Address already in use"
run unix:e.sock
is "so is a Unix domain socket in use" fails_with 1 "Address already in use"
run unix:other.sock "127.0.0.1:$port"
is "a start that fails leaves no socket behind" [ ! -e other.sock ]

is "SIGTERM ends it, though a client does not read" \
    ends_with TERM 0 "[0-9]* connections, [0-9]* bytes"
is "a socket in the file system is removed" [ ! -e e.sock ]

serve "$program" unix:e.sock
kill -KILL $pid
wait $pid 2>/dev/null
serve "$program" unix:e.sock
is "a socket that a dead server has left is replaced" \
    round_trip UNIX-CONNECT:e.sock
is "SIGINT ends it" ends_with INT 0 "connections"

serve "$program" -c 2 127.0.0.1:0
is "with -c 2, the third client waits until one has gone" third_waits
is "SIGTERM ends it while clients are connected" ends_with TERM 0 "connections"

serve "$program" -i 1 127.0.0.1:0
is "with -i 1, a silent client is sent away" silent_one_is_sent_away
is "and counted" is_counted

serve "$program" -t 4 127.0.0.1:0
is "four threads share a port" forty_are_served
is "and end together" ends_with TERM 0 "connections"

run
is "no address is an error" fails_with 2 "no ADDRESS given"
run -c many 127.0.0.1:0
is "a wrong number is an error" fails_with 2 "-c takes a number"
run localhost
is "a wrong address is an error" fails_with 2 "'localhost' is no address"

may_not_listen_there() {
    mkdir -m 755 closed
    run_unprivileged unix:closed/e.sock || return
    fails_with 1 "echo: unix:closed/e.sock: Permission denied"
}
is "a missing permission is an error" may_not_listen_there
