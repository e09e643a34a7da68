"""Training of the bundled models: canonical JSONL in, a verified ONNX model with its card out.

Needs the extra ``train``. ``python -m ctxpack.train --help`` lists the commands.
"""
