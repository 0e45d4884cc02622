"""One module a tool: options in, library calls, files out. Heavy imports stay inside the commands."""
