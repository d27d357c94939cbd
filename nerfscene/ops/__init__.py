"""The field's operations: native kernels, and the plain torch ones they are held against."""
