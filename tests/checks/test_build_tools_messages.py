"""What compilers and build tools say: each wording leads to its finding, and no look-alike does."""

from __future__ import annotations

import pytest

from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import first, ids
from tests.checks.pasting import saying


@pytest.mark.parametrize(
    "text",
    [
        "nvcc fatal   : Unsupported gpu architecture 'compute_120'",
        "nvcc fatal : Unsupported gpu architecture 'sm_30'",
        "nvcc fatal   : Value 'sm_20' is not defined for option 'gpu-architecture'",
        "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
        "nvrtc: error: invalid value for --gpu-architecture (-arch)",
        "clang: error: unsupported CUDA gpu architecture: sm_120",
        "NvvmSupportError: GPU compute capability 3.0 is not supported(requires >=3.5)",
        "nvcc cannot target gpu arch 89. Available nvcc targets are [50, 52, 60, 61, 70, 75, 80].",
    ],
)
def test_a_toolkit_that_does_not_know_the_gpu_is_told_in_every_wording(text: str) -> None:
    found = first(saying(text))
    assert (found.id, found.confidence) == ("nvcc-arch-unsupported", Confidence.CERTAIN)


def test_the_remedy_for_a_dropped_architecture_is_an_older_toolkit() -> None:
    found = first(saying("nvcc fatal   : Unsupported gpu architecture 'compute_35'"))
    assert "CUDA 11.8 or older" in " ".join(remedy.summary for remedy in found.remedies)


@pytest.mark.parametrize(
    "text",
    [
        "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
        "  No CMAKE_CUDA_COMPILER could be found.",
        "  The CMAKE_CUDA_COMPILER:\n\n    /usr/local/cuda-11/bin/nvcc\n\n  is not a full path to an"
        " existing compiler tool.",
        "[cmake]   Failed to find nvcc.",
        "  Could not find nvcc, please set CUDAToolkit_ROOT.",
        "CUDA_TOOLKIT_ROOT_DIR not found or specified",
        "-- Could NOT find CUDA (missing: CUDA_NVCC_EXECUTABLE CUDA_INCLUDE_DIRS CUDA_CUDART_LIBRARY)",
        "-- Could NOT find CUDAToolkit (missing: CUDAToolkit_INCLUDE_DIR)",
        "  CUDA Toolkit not found",
        "/bin/sh: 1: nvcc: not found",
        "/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found",
        "make: nvcc: Command not found",
        "make[2]: nvcc: No such file or directory",
        "error: [Errno 2] No such file or directory: '/usr/local/cuda/bin/nvcc'",
        "FileNotFoundError: [Errno 2] No such file or directory: ':/usr/local/cuda/bin/nvcc'",
        "/bin/sh: line 1: /usr/local/cuda-12.1/bin/nvcc: No such file or directory",
        "deepspeed.ops.op_builder.builder.MissingCUDAException: CUDA_HOME does not exist, unable to compile CUDA op(s)",
        "RuntimeError: flash_attn was requested, but nvcc was not found.  Are you sure your environment"
        " has nvcc available?",
        "*** CUDA_ROOT not set, and nvcc not in path. Giving up.",
        "NameError: name 'bare_metal_version' is not defined",
        "../meson.build:3:0: ERROR: Unknown compiler(s): [['nvcc']]",
        "src/a.cc:3:10: fatal error: cuda_runtime.h: No such file or directory",
        "clang: error: cannot find libdevice for sm_50; provide path to different CUDA installation via '--cuda-path'",
        "W nvptx_compiler.cc:71] Can't find libdevice directory ${CUDA_DIR}/nvvm/libdevice.",
        "XlaRuntimeError: UNAVAILABLE: No PTX compilation provider is available. Neither ptxas/nvlink nor nvjtlink is",
        "sudo: nvcc: command not found",
        "error: command ':/usr/local/cuda/bin/nvcc' failed: No such file or directory",
        "  Unable to find cudart library.",
    ],
)
def test_a_toolkit_that_is_wanted_and_not_found_is_told_in_every_wording(text: str) -> None:
    found = first(saying(text))
    assert (found.id, found.severity) == ("nvcc-not-found", Severity.ERROR)
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)


@pytest.mark.parametrize(
    "text",
    [
        "$ nvcc --version\nbash: nvcc: command not found",
        "zsh: command not found: nvcc",
        "bash: nvcc: Kommando nicht gefunden.",
        "nvcc: 未找到命令",
        "Command 'nvcc' not found, but can be installed with:\nsudo apt install nvidia-cuda-toolkit",
        "/usr/bin/which: no nvcc in (/usr/local/bin:/usr/bin)",
        "'nvcc' is not recognized as an internal or external command,",
    ],
)
def test_a_shell_without_nvcc_is_a_warning(text: str) -> None:
    found = first(saying(text))
    assert (found.id, found.severity) == ("nvcc-not-found", Severity.WARNING)


def test_a_shell_without_nvcc_stands_behind_what_is_broken() -> None:
    text = (
        "$ nvcc --version\nbash: nvcc: command not found\n$ python3 run.py\n"
        "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    )
    assert ids(saying(text)) == ["gpu-arch-not-in-build", "nvcc-not-found"]


@pytest.mark.parametrize(
    "text",
    [
        "  FindCUDA says CUDA version is 11.5 (usually determined by nvcc), but the CUDA headers say"
        " the version is 12.1.",
        "  Found two conflicting CUDA installs:",
        'error: #error "CUDA compiler and CUDA toolkit headers are incompatible, please check your include paths"',
        "nvlink fatal   : Input file 'a.o' newer than toolkit (128 vs 120)",
        "#error The version of CUB in your include path is not compatible with this release of Thrust."
        " CUB is now included",
        'Could NOT find CUDA: Found unsuitable version "9.1", but required is at least "10.0" (found /usr)',
        "Inconsistent CUDA toolkit path: /usr vs /usr/lib",
    ],
)
def test_two_toolkits_in_each_others_way_are_told_in_every_wording(text: str) -> None:
    assert first(saying(text)).id == "toolkit-shadowed"


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError:\nThe detected CUDA version (12.8) mismatches the version that was used to"
        " compile\nPyTorch (11.8).",
        "RuntimeError: The detected CUDA version (10.1) mismatches the version that was used to compile"
        " PyTorch (11.1).",
        "RuntimeError: Cuda extensions are being compiled with a version of Cuda that does not match"
        " the version used to "
        "compile Pytorch binaries.  Pytorch binaries were compiled with Cuda 11.7.",
        ">- DeepSpeed Op Builder: Installed CUDA version 11.8 does not match the version torch was"
        " compiled with 12.1, un"
        "able to compile cuda/cpp extensions without a matching cuda version.",
    ],
)
def test_an_nvcc_of_another_cuda_than_the_framework_is_told_in_every_wording(text: str) -> None:
    assert first(saying(text)).id == "toolkit-framework-mismatch"


def test_the_title_names_both_versions() -> None:
    text = "The detected CUDA version (11.8) mismatches the version that was used to compile\nPyTorch (12.1)."
    assert first(saying(text)).title == "nvcc is of CUDA 11.8, and the framework was built with CUDA 12.1"


@pytest.mark.parametrize(
    "text",
    [
        "error: #error -- unsupported GNU version! gcc versions later than 11 are not supported! The"
        " nvcc flag '-allow-",
        "#error -- unsupported GNU version! gcc 4.9 and up are not supported!",
        "#error -- unsupported clang version! clang version must be less than 16 and greater than 3.2 .",
        "#error -- unsupported Microsoft Visual Studio version! Only the versions 2012, 2013, and 2015 are supported!",
        "#error -- unsupported ICC configuration! Only ICC 15.0, ICC 16.0, and ICC 17.0 on Linux x86_64 are supported!",
        "nvcc fatal   : The version ('80000') of the host compiler ('Apple clang') is not supported",
        "RuntimeError: The current installed version of x86_64-linux-gnu-g++ (12.2.0) is greater than"
        " the maximum require"
        "d version by CUDA 11.7 (11.5).",
        'yvals_core.h(902): error: static assertion failed with "error STL1002: Unexpected compiler'
        " version, expected CUDA"
        ' 12.4 or newer."',
        "/usr/include/c++/11/bits/std_function.h:435:145: error: parameter packs not expanded with '...':",
        '/usr/lib/gcc/x86_64-linux-gnu/14/include/avx512bf16vlintrin.h(52): error: identifier "__bf16" is undefined',
        "/usr/include/bits/floatn-common.h(214): error: invalid combination of type specifiers",
        '/usr/include/bits/floatn.h(61): error: identifier "__float128" is undefined',
        "/usr/include/bits/mathcalls.h(206): error: exception specification is incompatible with that"
        " of previous functio"
        'n "rsqrt" (declared at line 629 of /usr/local/cuda/include/crt/math_functions.h)',
        "/usr/include/string.h: In function 'void* __mempcpy_inline(void*, const void*, size_t)':\n"
        "/usr/include/string.h:652:42: error: 'memcpy' was not declared in this scope",
    ],
)
def test_a_host_compiler_that_nvcc_does_not_take_is_told_in_every_wording(text: str) -> None:
    found = first(saying(text))
    assert found.id == "host-compiler-unsupported"
    assert found.confidence in (Confidence.CERTAIN, Confidence.LIKELY)


def test_the_remedy_installs_the_last_compiler_that_nvcc_takes() -> None:
    found = first(saying("#error -- unsupported GNU version! gcc versions later than 12 are not supported!"))
    assert any("g++-12" in command for remedy in found.remedies for command in remedy.commands)


@pytest.mark.parametrize(
    "text",
    [
        "$ nvcc --version\nCuda compilation tools, release 12.8, V12.8.93",
        "$ which nvcc\n/usr/local/cuda/bin/nvcc",
        "-- Looking for a CUDA compiler\n-- Looking for a CUDA compiler - NOTFOUND",
        "checking for nvcc... no",
        "UserWarning: The detected CUDA version (12.4) has a minor version mismatch with the version that was used to"
        " compile PyTorch (12.1). Most likely this shouldn't be a problem.",
        "Installed CUDA version 12.6 does not match the version torch was compiled with 12.4 but since the APIs are "
        "compatible, accepting this combination",
        "No CUDA runtime is found, using CUDA_HOME='/usr/local/cuda'",
        '-- Found CUDA: /usr/local/cuda (found suitable version "11.8", minimum required is "11.0")',
        "src/a.cc:3:10: fatal error: zlib.h: No such file or directory",
        "/usr/include/c++/12/bits/stl_vector.h:1126: error: no match for operator",
        "gcc (Ubuntu 13.2.0-4ubuntu3) 13.2.0",
        "clang: warning: CUDA version is newer than the latest partially supported version 12.3"
        " [-Wunknown-cuda-version]",
        "-- Could NOT find OpenMP (missing: OpenMP_C_FLAGS)",
        "ls: cannot access '/opt/cuda': No such file or directory",
    ],
)
def test_a_text_that_only_looks_like_it_gives_none_of_these(text: str) -> None:
    assert ids(saying(text)) == []


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("ERROR: LoadError: could not spawn `/sw/cuda/9/nvcc --version`: no such file or directory", "nvcc-not-found"),
        ("bash: type: nvcc: not found", "nvcc-not-found"),
        ("  Found two conflicting CUDA versions:\n  V11.5.119 in '/usr/include' and", "toolkit-shadowed"),
        ("    raise RuntimeError(CUDA_MISMATCH_MESSAGE.format(a, torch.version.cuda))", "toolkit-framework-mismatch"),
        (
            "/usr/include/bits/mathcalls.h(79): error: exception\n  specification is incompatible with that of",
            "host-compiler-unsupported",
        ),
    ],
)
def test_wordings_of_less_common_tools_are_known(text: str, identifier: str) -> None:
    assert first(saying(text)).id == identifier
