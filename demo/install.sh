#!/bin/sh
# install.sh COMMAND...: runs a program that installs tools into .tools/, after those of other targets that do so. What
# it says is only shown where it fails.
set -eu
mkdir -p .tools
if command -v flock >/dev/null; then
    exec 9>.tools/lock
    flock -n 9 || { echo 'Waiting for another target that installs tools here ...' && flock 9; }
fi
# pip leaves temporary files behind when it is interrupted.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"$@" >"$TMPDIR/said" 2>&1 9>&- && exit 0
status=$?
cat "$TMPDIR/said" >&2
exit $status
