#!/bin/bash
# httpd under the load of real clients: not one error, a large file intact, and the system calls that a request costs.
# Traffic stays on loopback and is bounded in time. KAPOK_SWITCH and KAPOK_REACTOR are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build -q --release --example httpd
root=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then kill -9 "$server"; fi
    rm -rf "$root"
}
trap cleanup EXIT
ulimit -n "$(ulimit -H -n)"

start() { # command words to run the server under
    : >"$root/log"
    "$@" target/release/examples/httpd --listen 127.0.0.1:0 --root "$root" >"$root/log" &
    server=$!
    url=
    for _ in $(seq 100); do
        url=$(sed -n 's/.*\(http:\/\/[0-9.:]*\/\).*/\1/p' "$root/log")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    echo "httpd did not start"
    exit 1
}
stop() {
    # Under strace the server is a child, and strace ends with it.
    kill -TERM "$(pgrep -P "$server" || echo "$server")"
    wait "$server"
    server=
}
fail() {
    echo "FAILED: $1"
    cat "$root/out"
    exit 1
}

start env
sed -n 1p "$root/log"

wrk -t 1 -c 1000 -d 10 "${url}plaintext" >"$root/out"
grep -E 'Socket errors|Non-2xx' "$root/out" && fail "wrk saw errors"
echo "wrk -c 1000 -d 10:$(grep 'requests in' "$root/out"), no error"

ab -q -k -n 200000 -c 64 "${url}plaintext" >"$root/out" 2>&1
grep -q '^Failed requests: *0$' "$root/out" || fail "ab saw failed requests"
! grep -q 'Non-2xx' "$root/out" || fail "ab saw errors"
grep -q '^Keep-Alive requests: *200000$' "$root/out" || fail "connections were not kept alive"
echo "ab -k -c 64: $(sed -n 's/^Requests per second: *//p' "$root/out"), no error"

head -c 1G /dev/urandom >"$root/large"
expected=$(sha256sum <"$root/large")
actual=$(curl -sS "${url}large" | sha256sum)
[ "$expected" = "$actual" ] || fail "a file of 1 GiB did not arrive intact"
rm "$root/large"
echo "1 GiB by curl: intact"
stop

# What a request costs a worker at 64 connections, which share system calls on io_uring. strace slows the server down, so it
# never runs out of requests.
cost() { # reactor, system calls allowed for each request
    export KAPOK_REACTOR=$1 KAPOK_WORKERS=1
    start strace -f -c -o "$root/calls"
    wrk -t 1 -c 64 -d 5 "${url}plaintext" >"$root/out"
    stop
    requests=$(sed -n 's/ *\([0-9]*\) requests in.*/\1/p' "$root/out")
    calls=$(awk '$NF == "total" { print $4 }' "$root/calls")
    adds=$(awk '$NF == "epoll_ctl" { print $4 }' "$root/calls")
    awk -v reactor="$1" -v limit="$2" -v calls="$calls" -v requests="$requests" -v adds="${adds:-0}" 'BEGIN {
        printf "%s, 64 connections: %d system calls for %d requests, %.3f each; %d of them epoll_ctl\n",
            reactor, calls, requests, calls / requests, adds
        # One registration for a connection, and those of the set-up.
        exit calls / requests > limit || adds > 64 + 8
    }' || fail "a request costs too many system calls: $(cat "$root/calls")"
}
cost epoll 2.1
cost io_uring 0.1
