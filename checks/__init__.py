"""What nvdiag can find. One module an area, or a topic of it; each check is a plain function from facts to findings."""

MODULES = (
    "driver", "mismatch_told", "mismatch_disguised", "no_gpu", "installation", "not_loaded", "bound_gpus",
    "kernel_modules", "dkms", "gpu_support", "gpu_kind", "gpu_generation", "module_needs", "next_boot", "packages",
    "package_states", "device", "node_access", "gpu_on_bus", "node_numbers", "fabric", "gpu_messages", "node_messages",
    "fabric_messages", "sharing_messages", "vgpu", "xids", "memory", "libraries", "forward_compat", "driver_companions",
    "loader_words", "smi_header", "driver_words", "cuda_libraries", "cudnn_wheels", "container", "container_mismatch",
    "container_start", "container_inside", "container_devices", "container_needs", "container_engines",
    "driver_container", "cdi", "cdi_specifications", "wsl", "wsl_setup", "wsl_cuda", "jetson", "jetson_stack", "cuda",
    "cuda_errors", "ptx", "build_tools", "extension_builds", "architectures", "host_compiler", "frameworks",
    "python_environment", "python_fit", "installed_frameworks", "framework_partners", "loader_picture",
    "loaded_libraries", "device_code", "llama", "environment", "visible_devices", "chosen_devices", "mig",
    "compute_mode", "mps", "memory_held", "override_values", "job_settings", "overrides", "processes", "nccl",
    "earlier_boots", "requirements", "engine", "smoke",
)  # fmt: skip
"""The modules that hold checks, in the order of looking; a test compares this with the folder."""
