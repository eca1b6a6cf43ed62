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
    "$compiler" $warnings -fexceptions "$@" -Icsrc csrc/*.c csrc/test/*.c -o "$program" -pthread -lm
}
for compiler in gcc clang; do
    for level in -O0 -O1 -O2 -O3 -Os "-O2 -D_FORTIFY_SOURCE=2" "-O2 -flto" "-O2 -fstack-protector-all"; do
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
