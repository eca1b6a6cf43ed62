#!/bin/bash
# The whole suite in static programs, with musl as the C library: ci/musl.sh [x86_64 | aarch64] [cargo test's arguments]. aarch64
# runs under qemu-user, whose gaps ci/cross.sh tells of. Installs the standard library for it by rustup, and needs musl-gcc (Debian:
# musl-tools), or for aarch64 root and Debian, for a cross compiler, qemu and musl's headers (kept in ~/.cache/kapok-ci). Where the
# standard library cannot be had that is a visible skip, unless KAPOK_REQUIRE_TARGETS names it. C++ and what is linked with it stays
# the host's, and is not tested.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${KAPOK_CI_CACHE:-$HOME/.cache/kapok-ci}
arch=x86_64
case ${1:-} in
    x86_64 | aarch64)
        arch=$1
        shift
        ;;
esac
target=$arch-unknown-linux-musl
if ! timeout 120 rustup target add "$target" >/dev/null 2>&1; then
    if [[ ",${KAPOK_REQUIRE_TARGETS:-}," == *",$target,"* ]]; then
        echo "rustup gives no standard library for $target, and KAPOK_REQUIRE_TARGETS names it" >&2
        exit 1
    fi
    echo "SKIP $target: rustup gives no standard library"
    exit
fi
if [ "$arch" = x86_64 ]; then
    export CARGO_TARGET_DIR=target/musl CC_x86_64_unknown_linux_musl=musl-gcc
    case " $* " in *" --no-run "*) exec cargo test --target "$target" "$@" ;; esac
    KAPOK_REQUIRE_REACTORS=io_uring,epoll,poll exec ci/suite.sh --target "$target" "$@"
fi

if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null
fi
headers=$cache/musl-arm64/usr/include/aarch64-linux-musl
[ -d "$headers" ] || KAPOK_DEBIAN_ARCH=arm64 ci/unpack.sh bookworm "$cache/musl-arm64" musl-dev
qemu=$cache/qemu/usr/bin/qemu-aarch64
[ -x "$qemu" ] || ci/unpack.sh bookworm-backports "$cache/qemu" qemu-user
# A compiler for glibc, with musl's headers instead. What it is linked with comes with the standard library. The functions that
# choose the atomic instructions when the program runs are glibc's.
includes=$(aarch64-linux-gnu-gcc -print-file-name=include)
export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_musl=aarch64-linux-gnu-ar
export CFLAGS_aarch64_unknown_linux_musl="-nostdinc -isystem $headers -isystem $includes -mno-outline-atomics -U_FORTIFY_SOURCE"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_DIR=target/musl-aarch64 KAPOK_EMULATED=1 KAPOK_DEADLINE_FACTOR="${KAPOK_DEADLINE_FACTOR:-5}" CARGO_PROFILE_DEV_DEBUG=0
case " $* " in *" --no-run "*) exec cargo test --target "$target" "$@" ;; esac
cargo test --no-run --quiet --target "$target" "$@"
# Programs that start themselves again have to find the emulator, see ci/cross.sh.
line=$(sed -n "s|^\(:[^:]*:M::[^:]*:[^:]*:\).*|\1$qemu:PF|p" "$cache/qemu/usr/share/qemu/binfmt.d/qemu-aarch64.conf")
export line
# shellcheck disable=SC2016 # bash expands them, in there
exec unshare --user --map-root-user --mount bash -euc '
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    printf "%s" "$line" >/proc/sys/fs/binfmt_misc/register
    exec cargo test "$@"
' cargo --target "$target" "$@"
