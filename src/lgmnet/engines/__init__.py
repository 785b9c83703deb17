"""Engines that run frozen networks faster than eager PyTorch: OpenVINO and ONNX Runtime."""
