#!/bin/sh
# Installs what the other checks use, where it is missing. Needs root and Debian's packages.
set -eu
missing=
need() { # command package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need clang clang
need clang-format clang-format
need g++ g++
need shellcheck shellcheck
need valgrind valgrind
need musl-gcc musl-tools
need strace strace
need curl curl
need aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
need qemu-aarch64 qemu-user
need wrk wrk
need ab apache2-utils
need redis-cli redis-tools
need redis-server redis-server
need openssl openssl
[ -e /usr/include/boost/context/fiber.hpp ] || missing="$missing libboost-context-dev"
# bindgen finds libclang where llvm-config or the usual directories have it.
ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || missing="$missing libclang-dev"
if [ -n "$missing" ]; then
    echo "installing:$missing"
    apt-get update -qq
    # Where there is no systemd, a runlevel in which no server that is installed is started: the tests start redis-server.
    # shellcheck disable=SC2086 # a list of words
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
