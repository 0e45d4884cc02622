#!/usr/bin/env bash
# Every integration test that this machine allows; the others say loudly why they were skipped (exit 77).
set -uo pipefail
cd "$(dirname "$0")"
passed=0 failed=0 skipped=0
for test in slurm docker apptainer; do
    echo "== $test"
    ./$test.sh
    case $? in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
exit $((failed > 0))
