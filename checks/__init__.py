"""What nvdiag can find. One module an area, or a topic of it; each check is a plain function from facts to findings."""

MODULES = (
    "driver", "mismatch_told", "next_boot", "installation", "kernel_modules", "gpu_support", "packages", "device",
    "gpu_messages", "node_messages", "fabric_messages", "sharing_messages", "xids", "memory", "libraries",
    "smi_header", "driver_words", "cuda_libraries", "container", "container_start", "container_inside", "cdi", "wsl",
    "jetson", "cuda", "cuda_errors", "build_tools", "frameworks", "python_environment", "llama", "environment",
    "visible_devices", "overrides", "processes", "nccl", "earlier_boots", "engine",
)  # fmt: skip
"""The modules that hold checks, in the order of looking; a test compares this with the folder."""
