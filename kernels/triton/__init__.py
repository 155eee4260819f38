"""Hold the triton backend: the op table over torch tensors, by kernels of ours on an NVIDIA GPU.

`table.py` has the ops, `jit/` what Triton compiles. Only this folder imports torch and triton, and only when the
backend is created.
"""
