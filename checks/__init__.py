"""What nvdiag can find. One module an area; each check is a plain function from facts to findings."""

MODULES = (
    "driver", "installation", "device", "libraries", "driver_words", "cuda_libraries", "container", "cuda",
    "cuda_errors", "build_tools", "environment", "engine",
)  # fmt: skip
"""The modules that hold checks, in the order of looking; a test compares this with the folder."""
