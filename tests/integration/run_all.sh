#!/usr/bin/env bash
# Every integration test that this machine allows; the others say why they were skipped (exit 77), and the last lines name them.
set -uo pipefail
cd "$(dirname "$0")"
passed=0 failed=() skipped=()
for test in slurm docker apptainer; do
    echo "== $test"
    ./$test.sh
    case $? in
        0) passed=$((passed + 1)) ;;
        77) skipped+=("$test") ;;
        *) failed+=("$test") ;;
    esac
done
[ ${#failed[@]} = 0 ] || echo "FAILED: ${failed[*]}"
[ ${#skipped[@]} = 0 ] || echo "NOT TESTED HERE: ${skipped[*]} (see SKIPPED above)"
echo "$passed passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
exit $((${#failed[@]} > 0))
