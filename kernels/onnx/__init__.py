"""Record a model's ops as an ONNX graph, and run such graphs by ONNX Runtime or OpenVINO."""
