/**
 * How a training tool is started: by torchrun, one process a GPU, when the task has several. A container without a
 * network cannot look up its own name.
 */
def launcher(task, String tool) {
    def gpus = task.accelerator ? task.accelerator.request : 0
    gpus > 1 ? "torchrun --standalone --local-addr 127.0.0.1 --nproc-per-node ${gpus} \$(command -v ${tool})" : tool
}
