"""What nvdiag can find. One module an area, or a topic of it; each check is a plain function from facts to findings."""

MODULES = (
    "driver", "mismatch_told", "smi_header", "python_environment", "installation", "device", "libraries", "container",
    "container_start", "container_inside", "cdi", "wsl", "jetson", "cuda", "environment", "engine",
    "earlier_boots",
)  # fmt: skip
"""The modules that hold checks, in the order of looking; a test compares this with the folder."""
