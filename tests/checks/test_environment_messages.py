"""What programs say of their environment: hidden GPUs, held memory, forks, transports, as people paste it."""

from __future__ import annotations

import pytest

from nvdiag.host.paste import PasteHost, hosts_of
from nvdiag.model.diagnosis import Status
from nvdiag.model.finding import Confidence, Severity
from tests.checks.diagnosing import diagnosed, first, ids
from tests.checks.pasting import pasted, saying

VISIBLE = (
    "export CUDA_VISIBLE_DEVICES=1\npython train.py\nRuntimeError: No CUDA GPUs are available",
    "os.environ['CUDA_VISIBLE_DEVICES'] = '2'\nRuntimeError: CUDA error: no CUDA-capable device is detected",
    "$ echo $CUDA_VISIBLE_DEVICES\n3\nRuntimeError: No CUDA GPUs are available",
    'env:\n- name: CUDA_VISIBLE_DEVICES\n  value: "1"\nRuntimeError: No CUDA GPUs are available',
    "CUDA_VISIBLE_DEVICES=-1 python a.py\n>>> torch.cuda.is_available()\nFalse",
    'set CUDA_VISIBLE_DEVICES=""\nfailed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected',
    "CUDA_VISIBLE_DEVICES=all ./deviceQuery\ncudaGetDeviceCount returned 100\n-> no CUDA-capable device is detected",
    "I0000 cuda_diagnostics.cc:163] CUDA_VISIBLE_DEVICES is set to -1 - this hides all GPUs from CUDA",
    "ValueError: invalid literal for int() with base 10: 'GPU-11112222-3333-4444-5555-666677778888'",
    'os.environ["CUDA_VISABLE_DEVICES"] = "1"\ntorch.cuda.device_count()\n4',
    "export CUDA_VISIBLE_DEVICE=0",
    "docker: Error response from daemon: nvidia-container-cli: device error: 1: unknown device: unknown.",
    "nvidia-container-cli: device error: unknown device id: 7",
)

NOT_VISIBLE = (
    "CUDA_VISIBLE_DEVICES=0 python a.py\nRuntimeError: No CUDA GPUs are available",
    "CUDA_VISIBLE_DEVICES=0,1 python a.py\nRuntimeError: No CUDA GPUs are available",
    "CUDA_VISIBLE_DEVICES=1 a.py, I also tried CUDA_VISIBLE_DEVICES=0\nRuntimeError: No CUDA GPUs are available",
    "CUDA_VISIBLE_DEVICES=1 python a.py works well",
    "CUDA_VISIBLE_DEVICES=-1 python a.py to run on the CPU",
    'msg="server config" env="map[CUDA_VISIBLE_DEVICES: GPU_DEVICE_ORDINAL: HIP_VISIBLE_DEVICES:"\n'
    "no CUDA-capable device is detected",
    "unset CUDA_VISIBLE_DEVICES\nRuntimeError: No CUDA GPUs are available",
    "export CUDA_VISIBLE_DEVICES=$LOCAL_RANK\nRuntimeError: No CUDA GPUs are available",
    '# os.environ["CUDA_VISIBLE_DEVICES"] = "1"\nRuntimeError: No CUDA GPUs are available',
    "ValueError: invalid literal for int() with base 10: 'abc'",
    "NVIDIA_VISIBLE_DEVICES=void",
)


@pytest.mark.parametrize("text", VISIBLE)
def test_a_variable_that_hides_the_gpus_is_named_first(text: str) -> None:
    found = first(saying(text))
    assert found.id == "visible-devices-invalid"
    assert found.confidence is not Confidence.POSSIBLE


@pytest.mark.parametrize("text", NOT_VISIBLE)
def test_a_variable_that_hides_nothing_is_not_blamed(text: str) -> None:
    assert "visible-devices-invalid" not in ids(saying(text))


FIRST = {
    "device-ordinal-invalid": (
        "RuntimeError: CUDA error: invalid device ordinal",
        "RuntimeError: cuda runtime error (10) : invalid device ordinal at torch/csrc/cuda/Module.cpp:32",
        "AssertionError: Invalid device id",
        "ncclUnhandledCudaError\nNCCL WARN Cuda failure 101",
        "Attempting to deserialize object on CUDA device 3 but torch.cuda.device_count() is 1. Please use torch.load",
        "You requested gpu: [0, 1]\n But your machine only has: [0]",
        "'visible_device_list' listed an invalid Device id '1' but visible device count is 1",
        "ValueError: World size (4) is larger than the number of available GPUs (2) in this node.",
        "CUDA_VISIBLE_DEVICES=1 python a.py --device cuda:1\nRuntimeError: CUDA error: invalid device ordinal",
    ),
    "no-cuda-device": (
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError: cuda runtime error (38) : no CUDA-capable device is detected at THCGeneral.cpp:50",
        "E tensorflow/stream_executor/cuda/cuda_driver.cc:271] failed call to cuInit: CUDA_ERROR_NO_DEVICE: no"
        " CUDA-capable device is detected",
        "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected",
        "numba.cuda.cudadrv.error.CudaSupportError: Error at driver init:\n[100] Call to cuInit results in"
        " CUDA_ERROR_NO_DEVICE",
        "cudaGetDeviceCount returned 38",
    ),
    "nccl-transport-failed": (
        "node1:17:17 [0] NCCL WARN Bootstrap : no socket interface found\nRuntimeError: NCCL error: internal error",
        "node1:91:120 [1] transport/p2p.cc:190 NCCL WARN failed to peer with device 0(=1000): 217 peer access is not"
        " supported between these two devices",
        "misc/ibvwrap.cc:252 NCCL WARN Call to ibv_modify_qp failed with error Connection timed out errno 110",
        "NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory",
        "NCCL WARN NET/IB : Got completion with error 12, opcode 1, len 32600, vendor err 129",
        "include/shm.h:27 NCCL WARN Call to shm_open failed : Permission denied\ninclude/shm.h:48 NCCL WARN Error while"
        " creating shared memory segment nccl-shm-recv-1-0-3-0 (size 4460544)",
        "misc/shmutils.cc:90 NCCL WARN Error while attaching to shared memory segment /dev/shm/nccl-a1b2c3 (size 0)",
        "NCCL WARN socketStartConnect: Connect to 10.0.0.2<41371> failed : No route to host",
        "kernel: nvidia 0000:41:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0015]\n[Rank 0] Watchdog caught"
        " collective operation timeout: WorkNCCL(SeqNum=1)",
    ),
    "shared-memory-too-small": (
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "RuntimeError: DataLoader worker (pid 99) is killed by signal: Bus error. It is possible that dataloader's"
        " workers are out of shared memory. Please try to raise your shared memory limit.",
        "RuntimeError: unable to write to file </torch_18692_1>: No space left on device (28)",
        "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-abc (size 9637888)\nRuntimeError: NCCL"
        " error, unhandled system error, NCCL version 2.18.1",
        "NCCL WARN Call to posix_fallocate failed : No space left on device",
        "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-abc (size 9637888)\nNCCL WARN Error while"
        " creating shared memory segment /dev/shm/nccl-abd (size 9637888), error: No space left on device (28)",
        "NOTE: The SHMEM allocation limit is set to the default of 64MB.  This may be\n   insufficient for PyTorch.\n"
        "RuntimeError: NCCL error, unhandled system error, NCCL version 2.12.9",
    ),
    "cuda-after-fork": (
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use"
        " the 'spawn' start method",
        "numba.cuda.cudadrv.driver.CudaDriverError: CUDA initialized before forking",
        "RuntimeError: Lightning can't create new processes if CUDA is already initialized. Did you manually call",
        '  File "/usr/lib/python3.8/multiprocessing/popen_fork.py", line 75\nRuntimeError: CUDA error:'
        " initialization error",
    ),
    "gpu-memory-held": (
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 10.76 GiB total capacity; 512.40 MiB"
        " already allocated; 12.69 MiB free; 530.00 MiB reserved in total by PyTorch)",
        "RuntimeError: CUDA out of memory. Tried to allocate 14.00 MiB (GPU 0; 7.93 GiB total capacity; 1.20 GiB"
        " already allocated; 10.94 MiB free; 16.5 MiB cached)",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69"
        " GiB of which 1.21 GiB is free. Process 4711 has 18.10 GiB memory in use. Including non-PyTorch memory, this"
        " process has 4.36 GiB memory in use. Of the allocated memory 3.80 GiB is allocated by PyTorch, and 102.40 MiB"
        " is reserved by PyTorch but unallocated.",
        "ValueError: Free memory on device (3.25/23.43 GiB) on startup is less than desired GPU memory utilization"
        " (0.9, 21.09 GiB). Decrease GPU memory utilization",
        "failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: out of memory; total memory reported: 1",
        "jcuda.CudaException: CUDA_ERROR_OUT_OF_MEMORY\n    at jcuda.driver.JCudaDriver.checkResult(A.java:33)\n"
        "    at jcuda.driver.JCudaDriver.cuCtxCreate(JCudaDriver.java:151)",
        "pciBusID: 0000:01:00.0\ntotalMemory: 10.92GiB freeMemory: 166.94MiB\nCUDA_ERROR_OUT_OF_MEMORY",
        "ggml_cuda_init: found 1 CUDA devices (Total VRAM: 24123 MiB):\nusing device CUDA0 (NVIDIA GeForce RTX 3090)"
        " (0000:01:00.0) - 1210 MiB free\nallocating 13542.00 MiB on device 0: cudaMalloc failed: out of memory",
    ),
    "library-override-invalid": (
        "export BNB_CUDA_VERSION=122\nCould not find the bitsandbytes CUDA binary at"
        " PosixPath('/x/libbitsandbytes_cuda122.so')",
        "export TRITON_LIBCUDA_PATH=/usr/local/cuda/lib64\nAssertionError: libcuda.so cannot found!",
        "XLA_FLAGS=--xla_gpu_cuda_data_dir=/opt/cuda python a.py\nlibdevice not found at ./libdevice.10.bc",
        "ERROR: ld.so: object '/usr/lib/libnccl.so.2' from LD_PRELOAD cannot be preloaded: ignored.",
    ),
    "mig-misconfigured": (
        "error starting plugins: error visiting devices: error visiting device: error getting device memory info:"
        " Insufficient Permissions",
        "$ sudo nvidia-smi mig -lgi\nNo MIG-enabled devices found.",
        "Warning: MIG mode is in pending enable state for GPU 00000000:07:00.0:In use by another client",
        "ValueError: invalid literal for int() with base 10: 'MIG-11112222-3333-5444-8555-666677778888'",
        "export CUDA_VISIBLE_DEVICES=MIG-11112222-3333-5444-8555-666677778888\nNo CUDA GPUs are available",
    ),
}


@pytest.mark.parametrize(("identifier", "text"), [(name, text) for name, texts in FIRST.items() for text in texts])
def test_what_the_words_single_out_stands_first(identifier: str, text: str) -> None:
    found = first(saying(text))
    assert found.id == identifier
    assert found.confidence is not Confidence.POSSIBLE
    assert found.remedies


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA out of memory.",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 10.76 GiB total capacity; 9.10 GiB"
        " already allocated; 112.69 MiB free; 9.43 GiB reserved in total by PyTorch)",
        # PyTorch to 1.3 calls cached what it keeps beside what is allocated
        "RuntimeError: CUDA out of memory. Tried to allocate 240.00 MiB (GPU 0; 10.76 GiB total capacity; 9.10 GiB"
        " already allocated; 112.69 MiB free; 19.64 MiB cached)",
        # in a container the process's own memory may be shown as another process's
        "CUDA out of memory. Tried to allocate 1.95 GiB. GPU 0 has a total capacty of 14.75 GiB of which 1.66 GiB is"
        " free. Process 414660 has 13.09 GiB memory in use. Of the allocated memory 10.09 GiB is allocated by PyTorch,"
        " and 1.92 GiB is reserved by PyTorch but unallocated.",
        # it would not have fitted on an empty GPU either
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which 15.00 GiB is"
        " free. Process 1 has 4.00 GiB memory in use. Including non-PyTorch memory, this process has 4.60 GiB memory"
        " in use.",
        "RuntimeError: CUDA error: initialization error",
        "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:825, unhandled cuda error, NCCL version 2.10.3",
        "NOTE: The SHMEM allocation limit is set to the default of 64MB.  This may be\n   insufficient for PyTorch.",
        "Bus error (core dumped)",
        "RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode: Too many open files (24)",
        "NCCL INFO P2P is disabled between connected GPUs 1 and 0. You can repress this message with",
        "NCCL INFO NET/IB : No device found.",
        "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1, OpType=ALLREDUCE)",
        "export BNB_CUDA_VERSION=122\nall works",
        "AssertionError: libcuda.so cannot found!",
        "You can set the environment variable XLA_FLAGS=--xla_gpu_cuda_data_dir=/path/to/cuda will work.\nlibdevice not"
        " found at ./libdevice.10.bc",
        "| N/A   34C    P0    61W / 400W |   MIG M. Disabled |",
        "torch.cuda.is_available() is False",
    ],
)
def test_words_that_prove_nothing_of_the_environment_claim_nothing(text: str) -> None:
    assert set(ids(saying(text))) & set(FIRST) == set()


TABLE = """\
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA GeForce RTX 4090        On  |   00000000:01:00.0  On |                  Off |
| 30%   33C    P8             29W /  450W | {used:>7}MiB /  24564MiB |      0%      Default |
+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI        PID   Type   Process name                              GPU Memory |
|=========================================================================================|
{processes}
+-----------------------------------------------------------------------------------------+
"""
NONE = "|  No running processes found                                                             |"
ONE = "|    0   N/A  N/A      4711      C   {name:<40}   18200MiB |"


def smi(used: int, processes: str = NONE) -> PasteHost:
    return hosts_of(f"$ nvidia-smi\n{TABLE.format(used=used, processes=processes)}".encode(), "text")[0]


@pytest.mark.parametrize("processes", [NONE, ONE.format(name="[Not Found]")])
def test_memory_that_no_listed_process_holds_is_told_of(processes: str) -> None:
    found = first(smi(18400, processes))
    assert (found.id, found.severity) == ("gpu-memory-held", Severity.WARNING)
    assert "18400 of 24564 MiB" in found.title


def test_nobodys_memory_is_in_question_where_nvidia_smi_printed_no_table() -> None:
    text = "$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\n"
    judged = next(one for one in diagnosed(pasted(text)).checks if one.name == "the_processes_account_for_the_memory")
    assert judged.status is Status.SKIPPED


def test_memory_that_no_listed_process_holds_is_an_error_where_a_program_ran_out_of_it() -> None:
    text = f"$ nvidia-smi\n{TABLE.format(used=23900, processes=NONE)}$ ./run\nCUDA error: out of memory\n"
    assert first(hosts_of(text.encode(), "text")[0]).severity is Severity.ERROR


@pytest.mark.parametrize("host", [smi(812), smi(18400, ONE.format(name="python3"))])
def test_memory_that_is_accounted_for_is_no_finding(host: PasteHost) -> None:
    assert ids(host) == []


def test_a_container_lists_no_processes_and_that_means_nothing() -> None:
    text = f"root@3f1c0ab29d7e:/# nvidia-smi\n{TABLE.format(used=18400, processes=NONE)}"
    assert ids(hosts_of(text.encode(), "text")[0]) == []
