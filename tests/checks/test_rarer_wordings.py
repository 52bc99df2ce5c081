"""What is said seldom, in another language, or by a program of its own: it leads to the same findings."""

from __future__ import annotations

import pytest

from nvdiag.knowledge.messages import Message, messages
from nvdiag.model.finding import Confidence
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import pasted, saying

MIG_TABLE = """\
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
|   0  NVIDIA H100 PCIe               On  |   00000000:17:00.0 Off |                   On |
| N/A   31C    P0             48W /  350W |      87MiB /  81559MiB |     N/A      Default |
|                                         |                        |              Enabled |
"""

FOUND = [
    # the loader's words, translated
    ("cuda-library-missing", "libcublas.so.12: Kann die Shared-Object-Datei nicht öffnen: Datei nicht gefunden"),
    ("cuda-library-missing", "libcudart.so.11.0: ne peut ouvrir le fichier d'objet partagé: Aucun fichier ou dossier"),
    (
        "cuda-library-missing",
        "libcufft.so.11: no se puede abrir el archivo del objeto compartido: No existe el archivo",
    ),
    ("cuda-library-missing", "libcurand.so.10: невозможно открыть разделяемый объектный файл: Нет такого файла"),
    (
        "cuda-library-missing",
        "libcusparse.so.12\uff1a共有オブジェクトファイルを開けません: そのようなファイルはありません",
    ),
    ("cudnn-mismatch", "libcudnn.so.9: 无法打开共享目标文件: 没有那个文件或目录"),
    ("libcuda-missing", "libcuda.so.1: 无法打开共享对象文件: 没有那个文件或目录"),
    # a build that stops, in make's other languages
    ("driver-not-built", "make[1]: *** [Makefile:1942: /var/lib/dkms/nvidia/550.107.02/build] Fehler 2"),
    ("driver-not-built", "make[2]: *** [scripts/Makefile.build:299: /var/lib/dkms/nvidia/470.256.02/build] 错误 2"),
    # programs that look for a library by themselves
    (
        "cuda-library-missing",
        "RuntimeError: jaxlib/cuda/versions_helpers.cc:72: operation cublasGetVersion( nullptr, &version) failed:"
        " cuBlas internal error",
    ),
    ("cuda-library-missing", "OSError: library cudart not found"),
    ("cuda-library-missing", "DEBUG: Possible options found for libcudart.so: set()"),
    ("container-runtime-not-configured", "Failed to start nvml with error:  could not load NVML library"),
    ("cuda-library-shadowed", "ImportError: core.so: undefined symbol: cudaGetDriverEntryPointByVersion"),
    ("driver-library-incomplete", "[AVHWDeviceContext @ 0x5581] Cannot load libnvcuvid.so.1"),
    (
        "driver-library-incomplete",
        "[hevc_nvenc @ 0x5581] Cannot load libnvidia-encode.so.1\n"
        "[hevc_nvenc @ 0x5581] The minimum required Nvidia driver for nvenc is 570.0 or newer",
    ),
    # errors told by number alone
    ("driver-too-old-for-cuda", "[E] [TRT] CUDA initialization failure with error 35. Please check your installation"),
    ("no-cuda-device", "[E] [TRT] 6: CUDA initialization failure with error: 100. Please check"),
    (
        "uvm-not-loaded",
        "ERROR: The NVIDIA Driver is present, but CUDA failed to initialize.  GPU functionality will not be available."
        "\n   [[ Unknown error (error 999) ]]",
    ),
    (
        "fabric-manager-not-running",
        "The NVIDIA Driver is present, but CUDA failed to initialize.\n   [[ System not yet initialized (error 802) ]]",
    ),
    # the kernel module, and what switches a GPU off
    ("no-nvidia-gpu", "NVRM: No NVIDIA graphics adapter found!\nNVRM: NVIDIA init module failed!"),
    ("gpu-reset-required", "NVRM: GPU1 _kgspLogRpcTimeout: ************* GSP Timeout *************"),
    ("gpu-switched-off", "Cannot switch GPUS : bbswitch refuses to turn ON the GPU"),
    # MIG, and a program that counts instances as GPUs
    ("mig-misconfigured", MIG_TABLE + "RuntimeError: CUDA error: invalid device ordinal"),
    (
        "mig-misconfigured",
        "$ echo $CUDA_VISIBLE_DEVICES\nMIG-89c850dc-38e3-57df-85c7-690c186b68e9\n"
        "RuntimeError: CUDA error: invalid device ordinal",
    ),
    # who drives the GPU instead, as the kernel's log shows it
    (
        "gpu-bound-to-other-driver",
        "nouveau 0000:65:00.0: NVIDIA TU104 (164000a1)\nnouveau 0000:65:00.0: DRM: VRAM: 8192 MiB",
    ),
    # NVML in a pod, and a runtime that its node does not know
    ("container-runtime-not-configured", 'RuntimeHandler \\"nvidia\\" not supported'),
    (
        "container-runtime-not-configured",
        "NVML not detected: could not load NVML library: libnvidia-ml.so.1: cannot open shared object file",
    ),
    (
        "container-runtime-not-configured",
        "gpu-feature-discovery: Error: error creating NVML labeler: failed to initialize NVML: unexpected failure"
        " calling nvml.Init: error opening libnvidia-ml.so.1: libnvidia-ml.so.1: cannot open shared object file",
    ),
    (
        "container-driver-libraries-missing",
        "Not collecting GPU metrics; Error getting devices count: Cannot perform the requested operation because NVML"
        " doesn't exist on this system.",
    ),
    # lines that were cut, or quoted in a sentence
    ("nvml-library-missing", "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1"),
    (
        "container-runtime-not-configured",
        "setting up CDI devices: unresolvable CDI devices [nvidia.com/gpu=all](http://nvidia.com/gpu=all).",
    ),
    ("llama-built-without-cuda", 'llama-cpp-python is slow, and its log has "BLAS = 0"'),
    ("uvm-broken-after-suspend", "since my gentoo laptop woke up from sleep: cudart init failure: 999"),
    # what a program that calls apt, a shop of packages or a licence daemon leaves of a line
    (
        "driver-package-conflict",
        "'/usr/bin/apt-get -y install 'nvidia-utils-535-server'' failed: E: Unable to correct problems, you have held"
        " broken packages.",
    ),
    (
        "driver-package-conflict",
        "linux-modules-nvidia-535-6.5.0-14-generic: Depends: nvidia-kernel-common-535 (<= 535.129.03-1) but"
        " 535.154.05-0ubuntu0.22.04.1 is to be installed",
    ),
    ("vgpu-misconfigured", "nvidia-gridd[811]: Failed to acquire license from dls.example.com"),
    # a memory that fails, as CUDA tells it
    ("gpu-reset-required", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
    # TensorRT, where a program needs it; nvcc, where an old setup script does
    (
        "cuda-library-missing",
        "trtexec: error while loading shared libraries: libnvinfer_plugin.so.8: cannot open"
        " shared object file: No such file or directory",
    ),
    ("nvcc-not-found", "OSError: The CUDA nvcc path could not be located in /opt/cuda/bin/nvcc"),
    # Ollama's list of what it was built with
    ("llama-built-without-cuda", 'level=INFO source=routes.go:1339 msg="Dynamic LLM libraries" runners=[cpu]'),
    ("llama-built-without-cuda", 'level=INFO msg="Dynamic LLM libraries [cpu_avx2 cpu cpu_avx]"'),
]


@pytest.mark.parametrize(("identifier", "text"), FOUND)
def test_a_rarer_wording_leads_to_its_finding(identifier: str, text: str) -> None:
    assert first(saying(text)).id == identifier


@pytest.mark.parametrize("message", [one for one in messages() if one.proves], ids=lambda one: one.name)
def test_what_a_message_proves_is_found_first_in_its_own_words(message: Message) -> None:
    assert first(pasted(message.example)).id == message.proves


@pytest.mark.parametrize(
    "text",
    [
        "libcudart.so.12: 无法打开共享目标文件: 权限不够",
        "make[1]: *** [Makefile:1942: /var/lib/dkms/virtualbox/7.0.14/build] Fehler 2",
        "[h264_nvenc @ 0x55d0] The minimum required Nvidia driver for nvenc is 570.0 or newer",
        "DEBUG: Possible options found for libcudart.so: {PosixPath('/usr/local/cuda/lib64/libcudart.so.11.0')}",
        'level=INFO msg="Dynamic LLM libraries [cpu cpu_avx cuda_v12 rocm_v6]"',
        "ImportError: _ext.so: undefined symbol: cudaMalloc",
        MIG_TABLE,
        # packages of something else
        "'/usr/bin/apt-get -y install 'python3-dev'' failed: E: Unable to correct problems, you have held broken"
        " packages.",
        # another rank went away, for a reason of its own; or is not yet there
        "misc/socket.cc:49 NCCL WARN socketProgress: Connection closed by remote peer node1<57557>",
        "host:31:34 [0] NCCL INFO Call to connect returned Connection refused, retrying",
        # TensorFlow and ONNX Runtime go on without TensorRT
        "W tensorflow: Could not load dynamic library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open shared"
        " object file: No such file or directory",
        # a system call can fail for other reasons than the driver's nodes
        "CUDA error 304 at kernels.cu:12: OS call failed or operation not supported on this OS",
        # the module that is refused is another one
        "insmod: ERROR: could not insert module ./vboxdrv.ko: Key was rejected by service\n"
        "[  711.2] Loading of module with unavailable key is rejected",
        # nouveau set the GPU up before NVIDIA's driver took it
        "[    2.1] nouveau 0000:65:00.0: DRM: VRAM: 8192 MiB\n"
        "[   41.7] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024",
    ],
)
def test_what_only_looks_like_it_claims_nothing(text: str) -> None:
    assert ids(saying(text)) == []


def test_a_module_that_counts_no_gpu_does_not_deny_one_that_the_bus_shows() -> None:
    text = "NVRM: No NVIDIA GPU found.\n01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204]"
    assert "no-nvidia-gpu" not in ids(pasted(text))


def test_a_video_library_that_is_missing_follows_from_a_missing_libcuda() -> None:
    text = "[AVHWDeviceContext @ 0x1] Cannot load libcuda.so.1\n[AVHWDeviceContext @ 0x1] Cannot load libnvcuvid.so.1"
    assert first(saying(text)).id == "libcuda-missing"


def test_a_gsp_that_does_not_answer_is_told_once_where_its_xid_is_there() -> None:
    text = (
        "NVRM: GPU1 _kgspLogRpcTimeout: ************* GSP Timeout *************\n"
        "NVRM: Xid (PCI:0000:41:00): 119, pid=871, name=python3, Timeout after 6s of waiting for RPC response"
    )
    assert ids(saying(text)).count("gpu-reset-required") == 1


def test_a_module_that_counts_no_gpu_is_no_certainty() -> None:
    assert first(saying("NVRM: No NVIDIA GPU found.")).confidence is Confidence.LIKELY


@pytest.mark.parametrize(("seen", "identifier"), [("[]", "no-cuda-device"), ("[0]", "device-ordinal-invalid")])
def test_lightnings_count_of_gpus_is_read(seen: str, identifier: str) -> None:
    text = f"MisconfigurationException: You requested gpu: [0, 1]\n But your machine only has: {seen}"
    assert first(saying(text)).id == identifier
