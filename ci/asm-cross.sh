#!/bin/bash
# The C shim, engine asm above all, on every processor that it is written for but this one: ci/asm-cross.sh [ARCH...], where ARCH is
# one of aarch64, armv7, i686, powerpc64le, riscv64 and s390x, by default all. i686 runs by itself, the others under qemu-user.
# Needs Debian for their compilers and qemu (kept in ~/.cache/kapok-ci), which root installs; where they cannot be had is a visible
# skip, or with KAPOK_REQUIRE_QEMU=1 an error.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${KAPOK_CI_CACHE:-$HOME/.cache/kapok-ci}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
warnings="-std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wconversion -Werror"

cannot() { # reason
    if [ "${KAPOK_REQUIRE_QEMU:-}" = 1 ]; then
        echo "$1, and KAPOK_REQUIRE_QEMU=1" >&2
        exit 1
    fi
    echo "SKIP $1"
}

compiler() { # ARCH
    case $1 in
        aarch64 | powerpc64le | riscv64 | s390x) echo "$1-linux-gnu" ;;
        armv7) echo arm-linux-gnueabihf ;;
        i686) echo i686-linux-gnu ;;
    esac
}

emulator() { # ARCH
    case $1 in
        i686) ;;
        armv7) echo "$cache/qemu/usr/bin/qemu-arm" ;;
        powerpc64le) echo "$cache/qemu/usr/bin/qemu-ppc64le" ;;
        *) echo "$cache/qemu/usr/bin/qemu-$1" ;;
    esac
}

# Builds the tests, runs them, and says what they come to: ARCH, the engine or all of them, flags.
tests() {
    local arch=$1 engine=$2 gnu program="$scratch/$1-test" log="$scratch/$1-log"
    shift 2
    gnu=$(compiler "$arch")
    # shellcheck disable=SC2086 # lists of flags, a program that may be none, an engine that may be none
    "$gnu-gcc" $warnings -fexceptions -static -DKAPOK_ASM "$@" csrc/*.c csrc/asm/*.S csrc/test/*.c -o "$program" -pthread -lm
    # shellcheck disable=SC2046,SC2086
    if ! $(emulator "$arch") "$program" ${engine/all/} >"$log" || ! grep -q ' - asm: every_register_is_kept$' "$log"; then
        cat "$log"
        echo "FAILED $arch, $*"
        return 1
    fi
    echo "$arch, $*, $engine: $(tail -n 1 "$log")"
}

one() { # ARCH
    local arch=$1 gnu
    gnu=$(compiler "$arch")
    tests "$arch" all -O2 -DKAPOK_BOOST_NAMES
    tests "$arch" asm -O0 -DKAPOK_BOOST_NAMES
    # What calls the engine is Thumb code by default; ARM code does so, too.
    [ "$arch" != armv7 ] || tests "$arch" asm -O2 -marm
    readelf -lW "$scratch/$arch-test" | grep GNU_STACK | grep -q 'RW ' || { echo "$arch: the stack is executable"; return 1; }
    # In a shared library, where nothing may have to be changed in its code when it is loaded.
    # shellcheck disable=SC2086 # a list of flags
    "$gnu-gcc" $warnings -fexceptions -O2 -fPIC -shared -Wl,-z,text -DKAPOK_ASM -DKAPOK_BOOST_NAMES csrc/*.c csrc/asm/*.S \
        -o "$scratch/$arch-library" -pthread -lm
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi
[ $# -gt 0 ] || set -- aarch64 armv7 i686 powerpc64le riscv64 s390x
wanted=()
for arch; do
    gnu=$(compiler "$arch")
    [ -n "$gnu" ] || { echo "no such processor here: $arch" >&2; exit 1; }
    command -v "$gnu-gcc" >/dev/null || wanted+=("gcc-$gnu")
done
# Their C libraries come along as what they recommend.
if [ ${#wanted[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${wanted[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${wanted[@]}" >/dev/null || echo "apt-get failed"
fi
there=()
for arch; do
    qemu=$(emulator "$arch")
    if [ -n "$qemu" ] && [ ! -x "$qemu" ] && ! ci/unpack.sh bookworm-backports "$cache/qemu" qemu-user; then
        cannot "$arch: no qemu-user 10"
    elif ! command -v "$(compiler "$arch")-gcc" >/dev/null; then
        cannot "$arch: no $(compiler "$arch")-gcc"
    else
        there+=("$arch")
    fi
done
[ ${#there[@]} -eq 0 ] || printf '%s\n' "${there[@]}" | xargs -P 2 -n 1 "$0" --one
