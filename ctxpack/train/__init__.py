"""Training of scorers: canonical JSONL in, a verified ONNX model with its card out.

Needs the extra ``train``. `ctxpack train` is its only command line.
"""
