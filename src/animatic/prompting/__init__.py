"""What a model is conditioned on in words: each method's prompt, and negative prompts with their sources."""
