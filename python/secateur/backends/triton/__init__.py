"""Kernels in Triton: each op's are declared in its file, which `table.KERNELS` finds.

Neither importing this room nor asking its table what there is imports triton: that comes with the
first `Entry.run`. kernels/ is device code.
"""
