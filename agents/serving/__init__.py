"""Trained routers as others use them: ONNX files, compiled code, one decision at a time."""
