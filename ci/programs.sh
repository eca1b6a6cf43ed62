#!/bin/bash
# Runs test programs, two at a time: ci/programs.sh DIRECTORY [arguments for each] <LIST, with a path on each line of the list. Prints
# what each comes to, how long it took and what it has skipped, and all that it has said if it fails. Their output stays in the
# directory.
#
# Under qemu-user (KAPOK_EMULATED=1) one that does not end is started a second time, and that is said: a process with threads that
# forks may leave the child with a lock of the emulator's own that nobody has any more, and it waits for that for ever.
set -euo pipefail
out=$1
shift
mkdir -p "$out"
rm -f "$out"/*.log
# In seconds: far more than any of them needs, on a slow and busy machine too. Their tests have deadlines of their own.
limit=${KAPOK_PROGRAM_LIMIT:-600}
late=124 killed=137 # what timeout says of a program that did not end

one() { # path, arguments
    local name=${1##*/} from=$SECONDS status=0
    name=${name%-*}
    timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    if [ "${KAPOK_EMULATED:-}" = 1 ] && { [ "$status" = "$late" ] || [ "$status" = "$killed" ]; }; then
        printf '%s\n' "AGAIN $name: it did not end in $limit s; the last that it said:" "$(tail -n 3 "$out/$name.log")"
        status=0
        timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
    fi
    if [ "$status" != 0 ] || ! grep -aq '^test result: ok' "$out/$name.log"; then
        printf '%s\n' "$(cat "$out/$name.log")" "FAILED $name: exit status $status, $((SECONDS - from)) s"
        return 1
    fi
    # In one piece, since another may print at the same time.
    printf '%s\n' "$name: $(sed -n 's/^test result: ok\. \(.*passed\).*/\1/p' "$out/$name.log" | tail -n 1), $((SECONDS - from)) s
$(sed -n 's/^\(SKIP\|the emulator\) /  &/p' "$out/$name.log" | sort | uniq -c)" | sed '/^$/d'
}

status=0 running=0
while read -r program; do
    if [ "$running" = 2 ]; then
        wait -n || status=1
        running=1
    fi
    one "$program" "$@" </dev/null &
    running=$((running + 1))
done
for ((; running > 0; running--)); do
    wait -n || status=1
done
# The last such line of a program is its own: before it there may be those of programs that it has started.
passed=$(for log in "$out"/*.log; do grep -a '^test result: ' "$log" | tail -n 1; done |
    sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' |
    awk '{ passed += $1; failed += $2; ignored += $3 } END { print passed + 0 " passed, " failed + 0 " failed, " ignored + 0 " ignored" }')
echo "in all: $passed, $(cat "$out"/*.log | sed -n '/^SKIP/p' | wc -l) times something was skipped, $SECONDS s,"
# The second line is about children: the processor time of all programs, which a busy machine does not change by much. It has to
# be asked for in this shell: another one has no children.
times >"$out/times"
echo "of the processor $(sed -n 2p "$out/times")"
exit $status
