#!/bin/bash
# The suite on other kernels than the one that runs here: ci/kernels.sh [[MACHINE/]VERSION...], of 5.10, 6.1 and 6.12 on x86_64 (all
# of them if nothing is named), aarch64/6.12 and s390x/6.12 (big endian). Static programs and Debian's kernel boot in qemu-system,
# emulated; a shell that is the first process runs one program after the other, and what each exits with is read from the console.
# KAPOK_KERNEL_TESTS names the programs, if it is not to be all, and KAPOK_KERNEL_ARGUMENTS is for each of them. Needs root and Debian; kernels stay in ~/.cache/kapok-ci.
# What cannot be fetched is a visible skip, unless KAPOK_REQUIRE_KERNELS names it (6.1, s390x/6.12).
#
# What such a kernel has not got is tested as what Kapok does without it: before 6.13 no MADV_GUARD_INSTALL, so that guards are
# mappings of their own, and no bell by a message of io_uring; on 5.10 no epoll_pwait2, and io_uring's completions interrupt.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${KAPOK_CI_CACHE:-$HOME/.cache/kapok-ci}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ $# -gt 0 ] || set -- 5.10 6.1 6.12
# How long a kernel may take for all of it, in seconds; a program may take half of that.
limit=${KAPOK_KERNEL_LIMIT:-1800}
# Threads that race for thousands of rounds, and spin: they say nothing about a kernel, and are slow where all is emulated.
skip="--skip races:: --skip of_two_that_come_at_once"

# They need what is not there: the source, a compiler, strace, or a faster machine.
without="abort bindings boost_names compare cshim faults stress million"

install() { # command package...
    command -v "$1" >/dev/null && return
    shift
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Goes on with the next kernel.
cannot() { # reason
    if [[ ",${KAPOK_REQUIRE_KERNELS:-}," == *",$which,"* ]]; then
        echo "Linux $which: $1, and KAPOK_REQUIRE_KERNELS names it" >&2
        exit 1
    fi
    echo "SKIP Linux $which: $1"
}

# Builds the test programs and the examples, which some of them start, and prints their paths.
programs() { # machine
    local selected=() name
    for name in ${KAPOK_KERNEL_TESTS:-}; do
        case $name in
            kapok) selected+=(--lib) ;;
            reactors) selected+=(--test reactors) ;;
            *) selected+=(--test "$name" --examples) ;;
        esac
    done
    case $1 in
        x86_64 | aarch64) ci/musl.sh "$1" --no-run --message-format=json "${selected[@]}" ;;
        s390x)
            # There is no musl for it. glibc can be linked statically, too.
            rustup target add s390x-unknown-linux-gnu >/dev/null 2>&1 || exit 0
            env CARGO_TARGET_DIR=target/static CC_s390x_unknown_linux_gnu=s390x-linux-gnu-gcc \
                CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc \
                CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static \
                cargo test --target s390x-unknown-linux-gnu --no-run --message-format=json "${selected[@]}"
            ;;
    esac | sed -n '/"test":true\|"kind":\["example"\]/s/.*"executable":"\([^"]*\)".*/\1/p'
}

# A file system with the programs, and an init that runs them.
initramfs() { # machine reactors file
    local machine=$1 reactors=$2 file=$3 root=$scratch/root-$1 name path
    rm -rf "$root"
    # They look for the examples from where they are themselves.
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,debug/deps,debug/examples}
    cp "$cache/busybox-$machine/bin/busybox" "$root/bin/busybox"
    while read -r path; do
        name=${path##*/}
        if [[ $path == */examples/* ]]; then
            "$strip" -g -o "$root/debug/examples/$name" "$path"
            continue
        fi
        name=${name%-*}
        [[ " $without " == *" $name "* ]] && continue
        # All its tests are about io_uring.
        [[ $machine/$name == s390x/reactors ]] && continue
        [[ -z ${KAPOK_KERNEL_TESTS:-} || " $KAPOK_KERNEL_TESTS " == *" $name "* ]] || continue
        "$strip" -g -o "$root/debug/deps/$name" "$path"
    done <"$scratch/programs-$machine"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp KAPOK_REQUIRE_REACTORS=$reactors KAPOK_DEADLINE_FACTOR=5 RUST_BACKTRACE=0
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mkdir -p /dev/shm
mount -t tmpfs none /dev/shm
mount -t tmpfs none /tmp
ln -s /proc/self/fd /dev/fd
ip link set lo up
ulimit -n 20000
cd /tmp
echo "kapok: kernel \$(uname -r)"
for test in /debug/deps/*; do
    echo "kapok: begin \${test##*/}"
    case \$test in
        */differential) skip= ;;
        */kapok) skip="--skip every_backend_does_what_poll_does" ;;
        *) skip="$skip" ;;
    esac
    # Who meets the limit of mappings meets it sooner.
    case \$test in
        */stack | */try_spawn) echo 8000 >/proc/sys/vm/max_map_count ;;
        *) echo 65530 >/proc/sys/vm/max_map_count ;;
    esac
    timeout -s KILL $((limit / 2)) \$test \$skip ${KAPOK_KERNEL_ARGUMENTS:-} 2>&1
    echo "kapok: exit \${test##*/} \$? after \$(cut -d . -f 1 /proc/uptime) s"
done
echo "kapok: done"
poweroff -f
INIT
    chmod +x "$root/init"
    if [ -e "$root/debug/deps/kapok" ]; then
        # Of the library's tests this one takes as long as all others together: fewer scripts, and by itself.
        printf '#!/bin/sh\nKAPOK_SCRIPTS=40 exec /debug/deps/kapok every_backend_does_what_poll_does\n' >"$root/debug/deps/differential"
        chmod +x "$root/debug/deps/differential"
    fi
    ls "$root/debug/deps" >"$scratch/list"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$file"
}

failed=
for which; do
    machine=x86_64 version=$which
    [[ $which == */* ]] && machine=${which%/*} version=${which#*/}
    case $machine in
        x86_64)
            debian=amd64 package="linux-image-$version\..*-cloud-amd64" strip=strip
            emulator=qemu-system-x86_64 packages="qemu-system-x86 seabios"
            # Linux 6.12 was seen to panic where it uses cmpxchg16b, with a flags register that no processor would have.
            qemu=(qemu-system-x86_64 -M q35 -cpu "max,-cx16") console=ttyS0
            ;;
        aarch64)
            debian=arm64 package="linux-image-$version\..*-cloud-arm64" strip=aarch64-linux-gnu-strip
            emulator=qemu-system-aarch64 packages=qemu-system-arm
            qemu=(qemu-system-aarch64 -M virt -cpu "max,pauth-impdef=on") console=ttyAMA0
            ;;
        s390x)
            debian=s390x package="linux-image-$version\..*-s390x" strip=s390x-linux-gnu-strip
            # Version 10, from the backports: under Debian 12's 7.2 the kernel's checksums of resets and of ICMP are wrong, so that
            # a connection is never refused. What it is linked with comes with the package of 7.2.
            emulator=qemu-system-s390x packages="qemu-system-misc qemu-system-data"
            install s390x-linux-gnu-gcc gcc-s390x-linux-gnu libc6-dev-s390x-cross || { cannot "there is no compiler for it" && continue; }
            newer=$cache/qemu-system-s390x/usr
            [ -x "$newer/bin/qemu-system-s390x" ] ||
                ci/unpack.sh bookworm-backports "$cache/qemu-system-s390x" qemu-system-s390x qemu-system-data ||
                { cannot "there is no emulator for it" && continue; }
            qemu=("$newer/bin/qemu-system-s390x" -L "$newer/share/qemu" -M s390-ccw-virtio -cpu max) console=ttyS0
            ;;
        *)
            echo "no such machine here: $machine" >&2
            exit 1
            ;;
    esac
    # io_uring is there for machines that its crate knows.
    reactors=io_uring,epoll,poll
    case $version in
        5.10) suite=bullseye ;; # its io_uring is the one of 5.15, since 5.10.162
        6.1) suite=bookworm ;;
        6.12) suite=bookworm-backports ;;
        *)
            echo "Debian has no kernel $version" >&2
            exit 1
            ;;
    esac
    [ "$machine" != s390x ] || reactors=epoll,poll
    # shellcheck disable=SC2086 # a list of words
    install "$emulator" $packages || { cannot "there is no emulator for it" && continue; }
    install cpio cpio || { cannot "there is no cpio" && continue; }
    kernel=$cache/kernel-$version-$debian
    [ -d "$kernel/boot" ] || KAPOK_DEBIAN_ARCH=$debian ci/unpack.sh "$suite" "$kernel" "$package" ||
        { cannot "Debian's cannot be fetched" && continue; }
    [ -d "$cache/busybox-$machine/bin" ] || KAPOK_DEBIAN_ARCH=$debian ci/unpack.sh bookworm "$cache/busybox-$machine" busybox-static ||
        { cannot "there is no shell for it" && continue; }
    [ -e "$scratch/programs-$machine" ] || programs "$machine" >"$scratch/programs-$machine"
    if [ ! -s "$scratch/programs-$machine" ]; then
        cannot "there is no standard library for static programs on it"
        continue
    fi
    initramfs "$machine" "$reactors" "$scratch/initramfs"

    echo "Linux $version on $machine: $(wc -l <"$scratch/list") programs"
    from=$SECONDS log=target/kernel-$version-$machine.log
    timeout "$limit" "${qemu[@]}" -accel tcg,thread=multi -smp 2 -m 2048 -nodefaults -display none -serial "file:$log" -no-reboot \
        -kernel "$kernel"/boot/vmlinuz-* -initrd "$scratch/initramfs" \
        -append "console=$console quiet panic=-1 no_timer_check rdinit=/init" </dev/null || echo "qemu ended with $?"
    sed -i 's/\r$//' "$log"
    grep -a '^kapok: kernel' "$log" || echo "it did not boot"
    while read -r name; do
        status=$(sed -n "s/^kapok: exit $name \([0-9]*\) after .*/\1/p" "$log")
        # What is between the two lines about it: the harness's own line counts, too.
        sed -n "/^kapok: begin $name$/,/^kapok: exit $name /p" "$log" >"$scratch/said"
        result=$(sed -n '/^test result: ok\. [1-9]/s/;[^;]*measured.*//p' "$scratch/said")
        if [ "$status" = 0 ] && [ -n "$result" ]; then
            echo "  $name: ${result#test result: }"
            sed -n '/SKIP/p' "$scratch/said" | sort | uniq -c
        else
            echo "  $name FAILED on Linux $version, $machine: exit status ${status:-missing}"
            tail -n 60 "$scratch/said"
            failed+=" $which:$name"
        fi
    done <"$scratch/list"
    if ! grep -aq '^kapok: done' "$log"; then
        echo "Linux $version on $machine did not come to the end; its last lines:"
        tail -n 40 "$log"
        failed+=" $which"
    fi
    echo "Linux $version on $machine: $((SECONDS - from)) s"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
