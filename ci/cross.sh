#!/bin/bash
# The whole suite built for another processor, and run here: ci/cross.sh ARCH [arguments of cargo test] [-- of the test programs],
# where ARCH is aarch64, armv7, i686, powerpc64le, riscv64 or s390x (big endian). i686 runs by itself, the others under qemu-user. Needs root and
# Debian for its cross compilers and qemu (kept in ~/.cache/kapok-ci), and rustup for the standard library: without that, or where
# the kernel does not let a namespace have its own binfmt_misc, it is a visible skip, unless KAPOK_REQUIRE_TARGETS names the target.
#
# qemu-user has no io_uring, no epoll_pwait2 and no seccomp, and takes MADV_GUARD_INSTALL without doing it, so what is tested is
# what Kapok does on such systems. Programs that start themselves again have to find the emulator: the kernel runs it for them
# (binfmt_misc, in a namespace that goes away with this script; Linux 6.7).
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${KAPOK_CI_CACHE:-$HOME/.cache/kapok-ci}
arch=${1:?"ci/cross.sh ARCH"}
shift
case $arch in
    aarch64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu debian=arm64 loader=ld-linux-aarch64.so.1 ;;
    armv7) target=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf debian=armhf loader=ld-linux-armhf.so.3 ;;
    i686) target=i686-unknown-linux-gnu gnu=i686-linux-gnu debian=i386 loader=ld-linux.so.2 ;;
    powerpc64le) target=powerpc64le-unknown-linux-gnu gnu=powerpc64le-linux-gnu debian=ppc64el loader=ld64.so.2 ;;
    riscv64) target=riscv64gc-unknown-linux-gnu gnu=riscv64-linux-gnu debian=riscv64 loader=ld-linux-riscv64-lp64d.so.1 ;;
    s390x) target=s390x-unknown-linux-gnu gnu=s390x-linux-gnu debian=s390x loader=ld64.so.1 ;;
    *)
        echo "no such processor here: $arch" >&2
        exit 1
        ;;
esac
cannot() { # reason
    if [[ ",${KAPOK_REQUIRE_TARGETS:-}," == *",$target,"* ]]; then
        echo "$1, and KAPOK_REQUIRE_TARGETS names $target" >&2
        exit 1
    fi
    echo "SKIP $target: $1"
    exit
}
timeout 120 rustup target add "$target" >/dev/null 2>&1 || cannot "rustup gives no standard library"
[ "$arch" = i686 ] || unshare --user --map-root-user --mount mount -t binfmt_misc none /proc/sys/fs/binfmt_misc ||
    cannot "a namespace has no binfmt_misc of its own"

if ! command -v "$gnu-gcc" >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "gcc-$gnu" "libc6-dev-$debian-cross" >/dev/null
fi
qemu=
if [ "$arch" != i686 ]; then
    machine=${arch/armv7/arm}
    machine=${machine/powerpc/ppc}
    qemu=$cache/qemu/usr/bin/qemu-$machine
    # Version 10, from the backports: the 7.2 of Debian 12 is not as sure with threads.
    [ -x "$qemu" ] || ci/unpack.sh bookworm-backports "$cache/qemu" qemu-user
fi

# The libraries of the cross compiler are no place where a loader looks by itself.
sysroot=/usr/$gnu/lib
name=${target//-/_}
link="-Wl,--dynamic-linker=$sysroot/$loader -Wl,-rpath,$sysroot"
export "CC_$name=$gnu-gcc" CC="$gnu-gcc $link" CXX="$gnu-g++ $link" CARGO_TARGET_DIR="target/$arch"
export "CARGO_TARGET_${name^^}_LINKER=$gnu-gcc" "CARGO_TARGET_${name^^}_RUSTFLAGS=-Clink-arg=${link/ / -Clink-arg=}"
# Those flags are not for the programs that rustdoc makes.
export "RUSTDOCFLAGS=-Clink-arg=${link/ / -Clink-arg=}"
# What is emulated is slower, and nobody debugs it here. Optimised a little, it takes longer to build, and less to run.
export KAPOK_DEADLINE_FACTOR="${KAPOK_DEADLINE_FACTOR:-5}" CARGO_PROFILE_DEV_DEBUG=0
[ "$arch" = i686 ] || export CARGO_PROFILE_DEV_OPT_LEVEL="${CARGO_PROFILE_DEV_OPT_LEVEL:-1}"

# The slowest takes half a minute on a machine that has nothing else to do.
export KAPOK_EMULATED='' KAPOK_PROGRAM_LIMIT="${KAPOK_PROGRAM_LIMIT:-300}"
[ -z "$qemu" ] || KAPOK_EMULATED=1
# The line that tells the kernel how such a program begins, with the emulator that is here in the place of the package's own.
line=
[ -z "$qemu" ] || line=$(sed -n "s|^\(:[^:]*:M::[^:]*:[^:]*:\).*|\1$qemu:PF|p" "$cache/qemu/usr/share/qemu/binfmt.d/qemu-$machine.conf")
export line
emulated() { # command...
    if [ -z "$qemu" ]; then
        "$@"
        return
    fi
    # shellcheck disable=SC2016 # bash expands them, in there
    unshare --user --map-root-user --mount bash -euc '
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
        printf "%s" "$line" >/proc/sys/fs/binfmt_misc/register
        exec "$@"
    ' emulated "$@"
}
status=0
emulated ci/suite.sh --target "$target" "$@" || status=1
# Where nothing is chosen, the examples in the documentation belong to it.
[ "${1:---}" != -- ] || emulated cargo test --doc --target "$target" "$@" || status=1
exit $status
