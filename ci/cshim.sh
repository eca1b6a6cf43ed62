#!/bin/sh
# The shim without Rust: every warning an error under gcc and clang, at several levels of optimisation, under the
# undefined-behaviour sanitizer and under valgrind.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
warnings="-std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wconversion -Werror"
build() { # compiler output flags...
    compiler=$1 program=$2
    shift 2
    # shellcheck disable=SC2086 # a list of flags
    "$compiler" $warnings -fexceptions "$@" -Icsrc csrc/*.c csrc/asm/*.S csrc/test/*.c -o "$program" -pthread -lm
}
# With every engine, but for one build, which has those of a build without the feature `asm`.
build gcc "$out/test" -O2
"$out/test" >"$out/log" || { cat "$out/log"; exit 1; }
echo "gcc -O2, without asm: $(tail -n 1 "$out/log")"
warnings="$warnings -DKAPOK_ASM"
for compiler in gcc clang; do
    for level in -O0 -O1 -O2 -O3 -Os "-O1 -DKAPOK_BUILTIN_SETJMP=0" "-O2 -D_FORTIFY_SOURCE=2" "-O2 -flto" "-O2 -fstack-protector-all"; do
        # shellcheck disable=SC2086 # one or two flags
        build "$compiler" "$out/test" $level
        "$out/test" >"$out/log" || { cat "$out/log"; exit 1; }
        echo "$compiler $level: $(tail -n 1 "$out/log")"
    done
done
# As somebody does it who has nothing but a compiler, on a machine that we do not have: the README's command. C11 in C99 is
# worth a warning to -pedantic, which is not looked at.
kit=$(sed -n 's/^\(cc csrc.*\) -o kapok-report && .*$/\1/p' README.md)
[ -n "$kit" ] || { echo "README.md does not show the command for a report"; exit 1; }
for compiler in cc "cc -std=c99 -pedantic -w" "clang -std=c99 -pedantic -w" "cc -std=c11 -pedantic -Werror" \
    "clang -std=c11 -pedantic -Werror" musl-gcc "musl-gcc -static"; do
    # shellcheck disable=SC2086 # a compiler with its flags, and the README's words
    $compiler ${kit#cc } -o "$out/report"
    "$out/report" >"$out/log" || { cat "$out/log"; exit 1; }
    echo "$compiler: $(tail -n 1 "$out/log")"
done
grep '^#' "$out/log"
build gcc "$out/test" -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
"$out/test" >/dev/null
echo "undefined-behaviour sanitizer: clean"
build gcc "$out/test" -O1 -g
# Each case is a child of its own, so that one with an error fails. The cases that have to die read a frame that is gone.
valgrind -q --error-exitcode=9 "$out/test" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
echo "valgrind: clean"
# No object of ours asks for an executable stack, or says that it knows of shadow stacks.
build gcc "$out/test" -O2 -fcf-protection=full -Wl,--fatal-warnings
! readelf -n "$out/test" | grep -q SHSTK || { echo "the program is marked for shadow stacks"; exit 1; }
readelf -lW "$out/test" | grep GNU_STACK | grep -q 'RW ' || { echo "the stack is executable"; exit 1; }
echo "no executable stack, no mark for shadow stacks"
# Another machine, where its compiler and qemu are installed (Debian: gcc-aarch64-linux-gnu, qemu-user).
if command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 && command -v qemu-aarch64 >/dev/null 2>&1; then
    for level in -O2 "-O0 -DKAPOK_BOOST_NAMES" "-O2 -mbranch-protection=standard"; do
        # shellcheck disable=SC2086 # some flags
        build aarch64-linux-gnu-gcc "$out/test" -static $level
        qemu-aarch64 "$out/test" >"$out/log" || { cat "$out/log"; exit 1; }
        echo "aarch64, $level: $(tail -n 1 "$out/log")"
    done
else
    [ "${KAPOK_REQUIRE_QEMU:-}" != 1 ] || { echo "no compiler or qemu for aarch64, and KAPOK_REQUIRE_QEMU=1"; exit 1; }
    echo "SKIP aarch64: no aarch64-linux-gnu-gcc, or no qemu-aarch64"
fi
