"""The operators' kernels for a GPU, in Triton. Nothing else imports triton; this file does not.

To be read in this order: `shapes` (what a kernel is passed), `arithmetic` and `scores` (what an
edge's score is), `forward` and `backward` (the walks over edges), then `tiles`, `call` and
`kernels`, which launch them. With TRITON_INTERPRET=1 in the environment when Python starts, they
run on the CPU in Triton's interpreter: slowly, but without a GPU.
"""
