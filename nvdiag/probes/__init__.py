"""Code that calls into NVIDIA's driver. It runs in a child process, may hang or crash there, and answers in JSON."""
