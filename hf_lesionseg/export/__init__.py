"""Networks as files for other runtimes: ONNX and torch.export, with the processor's settings beside them."""
