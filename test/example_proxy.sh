#!/bin/sh
# test/example_proxy.sh PROXY - build/proxy between programs that everybody has
program=$(realpath "$1")
. "$(realpath "${0%/*}")/tap.sh"

# target ADDRESS...: one for the proxy to connect to, made with socat, at the
# Unix domain socket target.sock.
target() {
    has socat || return
    in_background socat UNIX-LISTEN:target.sock,fork,unlink-early "$@"
    target=$!
    wait_until [ -S target.sock ]
}

no_target() {
    kill "$target" && rm -f target.sock
}

passes_on_both_ways() {
    target EXEC:cat || return
    timeout 50 socat -t 20 - "TCP:127.0.0.1:$port" <big >got
    no_target
    cmp -s big got
}

six_at_once() {
    target EXEC:cat || return
    clients=
    for i in 1 2 3 4 5 6; do
        timeout 50 socat -t 20 - "TCP:127.0.0.1:$port" <big >"got$i" &
        clients="$clients $!"
    done
    for client in $clients; do
        wait "$client"
    done
    no_target
    for i in 1 2 3 4 5 6; do
        cmp -s big "got$i" || return 1
    done
}

# The target answers when the client has said that it sends no more.
half_closes() {
    has sha256sum || return
    target EXEC:sha256sum || return
    sum=$(timeout 50 socat -t 20 - "TCP:127.0.0.1:$port" <big)
    no_target
    [ "$sum" = "$(sha256sum <big)" ]
}

# What needs more than socat can do: both ends, in one program that knows when
# what has happened.
python() {
    has python3 || return
    cat >peers.py - <<END
import os, socket, struct, sys, time

port = $port

def both():
    "A client and a target, connected by the proxy."
    if os.path.exists("target.sock"):
        os.unlink("target.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("target.sock")
    listener.listen(8)
    client = socket.create_connection(("127.0.0.1", port))
    target, _ = listener.accept()
    client.settimeout(20)
    target.settimeout(20)
    return client, target

def everything(peer):
    "What comes until the end, or until the connection is reset."
    got = b""
    try:
        while piece := peer.recv(1 << 16):
            got += piece
        return got
    except ConnectionResetError:
        return "reset"

def fill(peer):
    "Sends until nobody takes any more. Returns how many bytes."
    sent = 0
    peer.settimeout(0.3)
    try:
        while True:
            sent += peer.send(bytes(1 << 16))
    except TimeoutError:
        peer.settimeout(20)
        return sent

def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    peer.close()

$(cat)
END
    timeout 50 python3 peers.py
}

target_ends_first() {
    python <<'END'
client, target = both()
target.sendall(b"bye")
target.shutdown(socket.SHUT_WR)
assert everything(client) == b"bye"
client.sendall(b"still there")
client.shutdown(socket.SHUT_WR)
assert everything(target) == b"still there"
END
}

slow_reader_costs_nothing() {
    why="no /proc"
    memory=$(memory)
    [ "$memory" ] || return 77
    python <<END || return
client, target = both()
sent = fill(target)
before = $memory
for line in open("/proc/$pid/status"):
    if line.startswith("VmHWM:"):
        after = int(line.split()[1])
print("#", sent // 1024, "KiB sent,", after - before, "KiB more than before")
assert after - before < 4096
# Not a byte of it gets lost.
target.shutdown(socket.SHUT_WR)
assert len(everything(client)) == sent
END
}

reset_of_client_is_passed_on() {
    python <<'END'
client, target = both()
client.sendall(b"x")
assert target.recv(1) == b"x"
# A Unix domain socket knows no reset: it ends, but for what was not read.
target.sendall(b"y")
assert client.recv(1) == b"y"
reset(client)
assert everything(target) in (b"", "reset")
END
}

reset_of_target_is_passed_on() {
    python <<'END'
client, target = both()
client.sendall(b"x" * 100)
assert target.recv(1) == b"x"
target.close()  # with something unread
assert everything(client) == "reset"
END
}

reset_under_load_ends_both() {
    python <<'END'
client, target = both()
fill(target)
reset(client)
try:
    fill(target)
    assert False
except (BrokenPipeError, ConnectionResetError):
    pass
client, target = both()
fill(client)
fill(target)
target.close()
assert everything(client) == "reset"
END
}

no_target_is_a_reset() {
    rm -f target.sock
    python <<'END' || return
client = socket.create_connection(("127.0.0.1", port))
client.settimeout(20)
assert everything(client) == "reset"
END
    grep -q "^proxy: the target: No such file or directory" server.err
}

curl_gets_a_file() {
    has curl python3 || return
    in_background python3 -u -m http.server --bind 127.0.0.1 0 >http.out 2>&1
    wait_until grep -q "Serving HTTP" http.out || return 1
    serve "$program" unix:proxy.sock \
        "127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' http.out)"
    curl -s -m 50 --unix-socket proxy.sock -o got http://here/big &&
        cmp -s big got && ends_with INT 0 "1 clients"
}

# Its queue of connections is full, and Linux answers to no more.
target_that_does_not_answer() {
    has python3 || return
    cat >silent.py <<'END'
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
clients = []
for i in range(8):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(listener.getsockname())
    clients.append(client)
print(listener.getsockname()[1], flush=True)
time.sleep(1000)
END
    in_background python3 silent.py >silent.out
    wait_until [ -s silent.out ] || return 1
    serve "$program" 127.0.0.1:0 "127.0.0.1:$(cat silent.out)"
    python <<'END' || return
client = socket.create_connection(("127.0.0.1", port))
client.settimeout(20)
assert everything(client) == "reset"
END
    grep -q "^proxy: the target: Connection timed out" server.err &&
        ends_with INT 0 "1 clients, 0 bytes, 1 resets"
}

a_pair_is_held() {
    has python3 || return
    cat >hold.py <<END
import os, socket, time
listener = socket.socket(socket.AF_UNIX)
listener.bind("hold.sock")
listener.listen(8)
client = socket.create_connection(("127.0.0.1", $port))
target, _ = listener.accept()
print("connected", flush=True)
time.sleep(1000)
END
    rm -f hold.sock
    : >hold.out
    in_background python3 hold.py >hold.out 2>&1
    wait_until grep -q connected hold.out
}

plan 20

head -c 20000000 /dev/urandom >big

serve "$program" 127.0.0.1:0 unix:target.sock
is "it says where it listens" \
    grep -q "^listening at 127.0.0.1:[1-9][0-9]*$" server.out
is "20 MB get there and back" passes_on_both_ways
is "so do those of six clients at once" six_at_once
is "a client that ends still gets its answer" half_closes
is "a target that ends still gets all that is said" target_ends_first
is "memory is constant while nobody reads, and nothing is lost" \
    slow_reader_costs_nothing
is "the reset of a client is passed on" reset_of_client_is_passed_on
is "the reset of a target is passed on" reset_of_target_is_passed_on
is "a reset ends both sides, whatever is queued" reset_under_load_ends_both
is "a client without a target is reset" no_target_is_a_reset
is "and others are served" passes_on_both_ways
run "127.0.0.1:$port" unix:target.sock
is "an address in use is an error" \
    fails_with 1 "proxy: 127.0.0.1:$port: Address already in use"
is "SIGTERM ends it" ends_with TERM 0 "[0-9]* clients, [0-9]* bytes"

is "curl gets a file, through TCP and a Unix domain socket" curl_gets_a_file
is "a target that does not answer is given up" target_that_does_not_answer

serve "$program" 127.0.0.1:0 unix:hold.sock
is "a pair is there" a_pair_is_held
is "SIGTERM ends it while a pair is connected" ends_with TERM 0 "clients"

run
is "no address is an error" fails_with 2 "two addresses are needed"
run 127.0.0.1:0 localhost
is "a wrong address is an error" fails_with 2 "proxy: localhost: Invalid"
run '*:0' 127.0.0.1:1 more
is "too many addresses are an error" fails_with 2 "two addresses are needed"
