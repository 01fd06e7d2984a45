"""Encoders as files that run without this project: ONNX, OpenVINO, torch.export; see `eo_models.export.call`."""
