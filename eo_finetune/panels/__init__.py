"""Pictures of image, label, prediction and error."""
