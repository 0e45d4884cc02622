# source take_gpus.sh N: wait until N of this machine's GPUs are held by no other task, and show the task those alone.
# A lock belongs to the shell that sources this and to what it starts: it is gone when they end, however they end.
take_gpus() {
    local wanted=$1 gpu mutex lock lock_file="${TMPDIR:-/tmp}/allelegro-gpu"
    local -a locks free
    # shellcheck disable=SC2046  # one word a GPU
    set -- ${CUDA_VISIBLE_DEVICES+${CUDA_VISIBLE_DEVICES//,/ }}
    [ -n "${CUDA_VISIBLE_DEVICES+set}" ] || set -- $(nvidia-smi --query-gpu=index --format=csv,noheader 2> /dev/null)
    [ $# -gt 0 ] || return 0  # without a GPU, --device auto computes on the CPU and cuda says what is missing
    [ $# -ge "$wanted" ] || {
        echo "error: the task asks for $wanted GPUs and this machine shows $#; use --gpus $#" >&2
        exit 1
    }
    for gpu in mutex "$@"; do
        # Several users share the locks: all may read them, which is enough to lock. noclobber makes no file through a
        # link that another user has put there, and a link to a file is not opened.
        [ -e "$lock_file.$gpu" ] || (umask 022; set -o noclobber; : > "$lock_file.$gpu") 2> /dev/null || true
        if [ -L "$lock_file.$gpu" ] || [ ! -f "$lock_file.$gpu" ] || [ ! -r "$lock_file.$gpu" ]; then
            echo "error: $lock_file.$gpu is no lock file that this user may read; remove it, or set TMPDIR" >&2
            exit 1
        fi
    done
    while true; do
        # One task at a time looks round, so that no two wait for each other, each with half of what it needs.
        exec {mutex}< "$lock_file.mutex"
        flock "$mutex"
        locks=() free=()
        for gpu in "$@"; do
            [ ${#free[@]} -lt "$wanted" ] || break
            exec {lock}< "$lock_file.$gpu"
            if flock --nonblock "$lock"; then locks+=("$lock") free+=("$gpu"); else exec {lock}<&-; fi
        done
        exec {mutex}<&-
        [ ${#free[@]} -lt "$wanted" ] || break
        for lock in "${locks[@]}"; do exec {lock}<&-; done
        sleep 1
    done
    CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${free[*]}")
    export CUDA_VISIBLE_DEVICES
}
take_gpus "$1"
