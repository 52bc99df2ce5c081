"""What nvdiag can find. One module an area; each check is a plain function from facts to findings."""

MODULES = (
    "driver",
    "mismatch_told",
    "smi_header",
    "python_environment",
    "installation",
    "device",
    "libraries",
    "container",
    "cuda",
    "environment",
    "engine",
)
"""The modules that hold checks, in the order of looking; a test compares this with the folder."""
