"""Training: networks for video from scratch, and LoRA, on clips and pictures."""
