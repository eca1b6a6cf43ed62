#!/bin/sh
# The two commands of the README, taken from its text: the main job starts and answers, the tests pass.
set -eu
cd "$(dirname "$0")/.."
main=$(sed -n 's/^\(cargo run --release --example httpd\)$/\1/p' README.md | head -n 1)
tests=$(sed -n 's/^\(cargo test\)$/\1/p' README.md | head -n 1)
if [ -z "$main" ] || [ -z "$tests" ]; then
    echo "README.md does not show its two commands"
    exit 1
fi

log=$(mktemp)
# shellcheck disable=SC2086 # a command line
$main -- --listen 127.0.0.1:0 --root . >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null; rm -f "$log"' EXIT
url=
while [ -z "$url" ]; do
    kill -0 "$server" || { echo "httpd did not start"; exit 1; }
    url=$(sed -n 's/.*\(http:\/\/[0-9.:]*\/\).*/\1/p' "$log" | head -n 1)
    sleep 0.2
done
cat "$log"
# Not every machine has curl; Rust's tests of httpd use it where it is there.
if command -v curl >/dev/null 2>&1; then
    [ "$(curl -sS "${url}plaintext")" = "Hello, World!" ] || { echo "httpd gave a wrong answer"; exit 1; }
else
    echo "SKIP the request: no curl"
fi
kill -TERM "$server"
wait "$server"
trap 'rm -f "$log"' EXIT

$tests
