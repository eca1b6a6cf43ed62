#!/bin/bash
# Type-checks the library for systems that it cannot run on here: those with a kqueue of their own. ci/foreign.sh [targets].
# Those that rustup has no standard library for are checked with one made from its source, as nightly Cargo can.
#
# The C shim needs the system's headers. Where `zig` is installed, which has them, it is compiled; else it is left out, which
# is no matter to the types. A target that cannot be had is skipped, visibly, unless KAPOK_REQUIRE_TARGETS names it.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=target/foreign CRATE_CC_NO_DEFAULTS=1 RUSTFLAGS=-Dwarnings
rustup_has="x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-apple-darwin aarch64-apple-darwin aarch64-apple-ios"
from_source="x86_64-unknown-openbsd x86_64-unknown-dragonfly"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A C compiler that compiles nothing. To the question which one it is, it answers as this system's does.
cat >"$scratch/none" <<'END'
#!/bin/sh
case " $* " in *" -E "*) exec cc "$@" ;; esac
while [ $# -gt 1 ]; do
    if [ "$1" = -o ]; then
        : >"$2"
        exit
    fi
    shift
done
exit 1
END
# zig knows the targets by other names, and does not take what the cc crate says of them.
cat >"$scratch/zig" <<'END'
#!/bin/bash
arguments=()
for argument; do
    case $argument in
        --target=* | -m64) ;;
        *) arguments+=("$argument") ;;
    esac
done
exec zig cc -target "$ZIG_TARGET" "${arguments[@]}"
END
chmod +x "$scratch/none" "$scratch/zig"

skip() { # target why
    if [[ ",${KAPOK_REQUIRE_TARGETS:-}," == *",$1,"* ]]; then
        echo "$1: $2, and KAPOK_REQUIRE_TARGETS names it" >&2
        exit 1
    fi
    echo "SKIP $1: $2"
}

check() { # target [cargo's flags]
    local target=$1 name=${1//-/_} cc=none
    shift
    case $target in
        x86_64-unknown-freebsd) ZIG_TARGET=x86_64-freebsd ;;
        x86_64-unknown-netbsd) ZIG_TARGET=x86_64-netbsd ;;
        x86_64-apple-darwin) ZIG_TARGET=x86_64-macos ;;
        aarch64-apple-darwin) ZIG_TARGET=aarch64-macos ;;
        *) ZIG_TARGET= ;; # there are no headers, or no makecontext in them
    esac
    if [ -n "$ZIG_TARGET" ] && command -v zig >/dev/null; then
        cc=zig
    fi
    echo "$target, C compiler: $cc"
    env "CC_$name=$scratch/$cc" "AR_$name=ar" ZIG_TARGET="$ZIG_TARGET" cargo check --quiet --lib --features futures-io --target "$target" "$@"
}

# shellcheck disable=SC2086 # lists of words
[ $# -gt 0 ] || set -- $rustup_has $from_source
for target; do
    if [[ " $from_source " == *" $target "* ]]; then
        if timeout 60 rustup component add rust-src >/dev/null 2>&1; then
            RUSTC_BOOTSTRAP=1 check "$target" -Zbuild-std=std,panic_unwind
        else
            skip "$target" "rustup gives no rust-src"
        fi
    elif timeout 60 rustup target add "$target" >/dev/null 2>&1; then
        check "$target"
    else
        skip "$target" "rustup gives no standard library"
    fi
done
