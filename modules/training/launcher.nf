/** How a training tool is started: by torchrun, one process a GPU, when the task has several. */
def launcher(task, String tool) {
    def gpus = task.accelerator ? task.accelerator.request : 0
    gpus > 1 ? "torchrun --standalone --nproc-per-node ${gpus} \$(command -v ${tool})" : tool
}
