"""A paste as recorded machines: prompts and quoting, outputs by their shape, several machines in one text."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvdiag.host import NotRecorded
from nvdiag.host.paste import PasteHost, hosts_of
from nvdiag.host.paste.blocks import blocks_of, command_of
from nvdiag.host.paste.clean import lines_of

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May 31 09:35:42 UTC 2024"
TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA GeForce RTX 4090        On  |   00000000:01:00.0  On |                  Off |
| 30%   33C    P8             29W /  450W |    5756MiB /  24564MiB |     15%      Default |
+-----------------------------------------------------------------------------------------+"""


def host_of(text: str) -> PasteHost:
    found = hosts_of(text.encode(), "text")
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "line",
    [
        "$ nvidia-smi",
        "root@gpu-1:~# nvidia-smi",
        "(base) me@box:~/src (main)$ nvidia-smi",
        "[me@node7 ~]$ nvidia-smi",
        "me@mac ~ % nvidia-smi",
        "# nvidia-smi",
        "bash-5.1# nvidia-smi",
        "/ # nvidia-smi",
        "~$ nvidia-smi",
        "\u279c  ~ nvidia-smi",
        "\u276f nvidia-smi",
        "PS C:\\Users\\me> nvidia-smi",
        "nvidia-smi",
        "sudo nvidia-smi",
        "### `nvidia-smi`",
        "**nvidia-smi**:",
        "Output of `nvidia-smi`:",
        "nvidia-smi output:",
        "1. nvidia-smi",
        "!nvidia-smi",
        "In [3]: !nvidia-smi",
        "[12:01:33] me@box:~$ nvidia-smi",
        "me@box ~/src (main)> nvidia-smi",
        "me@box:~$nvidia-smi",
        "DOMAIN\\me@box:~$ nvidia-smi",
        "I have no name!@3f1c0ab29d7e:/$ nvidia-smi",
        "\u2514\u2500$ nvidia-smi",
        "\u2570\u2500\u27a4  nvidia-smi",
        "~/src on main \u276f nvidia-smi",
        "(base) \u279c  ~ git:(main) \u2717 nvidia-smi",
        "box% nvidia-smi",
        "box:~ # nvidia-smi",
        "mycontainer:/app$ nvidia-smi",
        "(venv) PS C:\\ai> nvidia-smi",
        "(base) C:\\ai>nvidia-smi.exe",
        "PS /home/me> nvidia-smi",
        "+ nvidia-smi",
        "`$ nvidia-smi`",
        "$ sudo -u me nvidia-smi",
        "$ watch -n 1 nvidia-smi",
        "$ /usr/bin/nvidia-smi",
    ],
)
def test_a_command_is_known_with_and_without_a_prompt(line: str) -> None:
    command = command_of(line)
    assert command is not None
    assert command.program == "nvidia-smi"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nvidia-smi works fine on the host.",
        "nvidia-smi shows the GPU, but torch does not",
        "# a comment about the driver",
        "# Environment",
        "| GPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |",
        "find out what is wrong",
        "which version do you have?",
        "make: *** [Makefile:434: ggml-cuda.o] Error 127",
        "100% done",
        "nvidia-smi -q shows nothing wrong",
        "lsmod | grep nvidia prints nothing",
        "modprobe nvidia does not help",
        "lrwxrwxrwx 1 root root 28 Jan  1 10:00 nvidia-smi -> /etc/alternatives/nvidia-smi",
        "/usr/bin/nvidia-smi",
        "#nvidia-smi",
    ],
)
def test_prose_and_output_are_no_commands(line: str) -> None:
    assert command_of(line) is None


def test_a_pipeline_is_known_by_its_first_program_and_as_filtered() -> None:
    command = command_of("$ sudo LC_ALL=C lsmod | grep -i nvidia")
    assert command is not None
    assert (command.program, command.filtered) == ("lsmod", True)


def test_a_command_line_goes_on_after_a_backslash() -> None:
    first, second = blocks_of(["$ docker run --gpus all \\", "  image nvidia-smi", "words"])
    assert first.command is None
    assert second.command is not None
    assert second.command.argv == ("docker", "run", "--gpus", "all", "image", "nvidia-smi")
    assert second.lines == ["words"]


@pytest.mark.parametrize(
    ("given_bytes", "line"),
    [
        (b"> > quoted twice", "quoted twice"),
        (b"\x1b[1;31mred\x1b[0m and \x1b]0;title\x07plain\r\n", "red and plain"),
        (b"10%\r50%\r100% done", "100% done"),
        (b"<details><summary>log</summary>", "log"),
        (b"a &lt;b&gt; &amp;&amp; c", "a <b> && c"),
        ("couldn\u2019t communicate".encode(), "couldn't communicate"),
        ("\ufeffwith a mark".encode("utf-16"), "with a mark"),
        (b'{"log":"Failed to initialize NVML\\n","stream":"stderr"}', "Failed to initialize NVML"),
        (b"nul\x00 and \xff bytes", "nul and \ufffd bytes"),
        (b">>> import torch", ">>> import torch"),
    ],
)
def test_a_line_is_stripped_of_what_the_way_here_did_to_it(given_bytes: bytes, line: str) -> None:
    assert lines_of(given_bytes)[0] == line


@pytest.mark.parametrize(
    ("given_text", "lines"),
    [
        ("one<br>two<br/>three", ["one", "two", "three"]),
        ("|&nbsp;&nbsp;0&nbsp; RTX", ["|  0  RTX"]),
        ("docker run \u2013gpus all image", ["docker run --gpus all image"]),
        ("gpu\u2011operator", ["gpu-operator"]),
        ("2024-01-08T03:55:57.123456789Z words", ["words"]),
        ("app-1  | a\napp-1  | b\napp-1  | | c |", ["a", "b", "| c |"]),
        ("driver | 550\ncuda   | 12.4\ngpus   | 2", ["driver | 550", "cuda   | 12.4", "gpus   | 2"]),
        ("see:\n\n    ii  one\n      deeper\n\nend", ["see:", "", "ii  one", "  deeper", "", "end"]),
        ("01:00.0 GPU\n\tSubsystem: x\n\tKernel", ["01:00.0 GPU", "\tSubsystem: x", "\tKernel"]),
        ("a\n\nb\n\nc\n\nd\n\ne\n\nf\n\n", ["a", "b", "c", "d", "e", "f", ""]),
        ("a\n\nb\n\nc", ["a", "", "b", "", "c"]),
    ],
)
def test_lines_are_what_stood_on_the_terminal(given_text: str, lines: list[str]) -> None:
    assert lines_of(given_text.encode()) == lines


def test_the_question_for_a_password_is_no_output() -> None:
    host = host_of("me@box:~$ sudo lsmod | grep nvidia\n[sudo] password for me:\nme@box:~$ ls\n")
    assert host.run("lsmod").stdout == ""


def test_details_of_a_device_are_its_own_without_their_indentation() -> None:
    host = host_of(
        "01:00.0 VGA compatible controller: NVIDIA Corporation X [10de:2684] (rev a1)\nSubsystem: Y\n"
        "Kernel driver in use: nouveau\nKernel modules: nouveau\n"
    )
    assert host.link("/sys/bus/pci/devices/0000:01:00.0/driver") == "../../../bus/pci/drivers/nouveau"


FAILED = "Failed to initialize NVML: Driver/library version mismatch\n"


@pytest.mark.parametrize("before", ["ssh node7", "srun --gres=gpu:1", "watch -n1", "sudo -u me"])
def test_nvidia_smi_fails_also_where_something_else_runs_it(before: str) -> None:
    assert host_of(f"$ {before} nvidia-smi\n{FAILED}").run("nvidia-smi").exit == 18


def test_what_nvidia_smi_says_in_a_container_is_no_answer_of_the_host() -> None:
    host = host_of(f"$ nvidia-smi\n{TABLE}\n$ docker exec -it x nvidia-smi\n{FAILED}")
    assert host.run("nvidia-smi").exit == 0
    assert any("mismatch" in text for _, text in host.texts())


def test_what_a_reboot_has_cured_is_history() -> None:
    host = host_of(f"$ nvidia-smi\n{FAILED}$ sudo reboot\n$ nvidia-smi\n{TABLE}\n")
    assert "550.90.07" in host.run("nvidia-smi").stdout
    assert not any("mismatch" in text for _, text in host.texts())
    assert any("mismatch" in text for _, text in host.earlier_texts())


@pytest.mark.parametrize(
    "text",
    [
        f"$ nvidia-smi\n{TABLE}\n$ sudo reboot\n$ nvidia-smi\n{FAILED}",
        f"$ nvidia-smi\n{FAILED}\nlast week it was:\n$ nvidia-smi\n{TABLE}\n",
    ],
    ids=["worked-before", "no-restart"],
)
def test_what_fails_now_or_may_fail_still_is_no_history(text: str) -> None:
    hosts = hosts_of(text.encode(), "text")
    assert len(hosts) == 2
    assert any("mismatch" in words for host in hosts for _, words in host.texts())


def test_rsyslogs_joined_lines_are_lines_again() -> None:
    joined = b"Jun 30 11:07:05 gpu-0 kernel: NVRM: API mismatch: the client has the version 1.2, but#012NVRM: this"
    assert lines_of(joined)[1] == "NVRM: this"


def test_a_file_that_was_shown_is_that_file() -> None:
    host = host_of(f"$ cat /proc/driver/nvidia/version\n{VERSION}\nGCC version:  gcc version 13\n")
    assert host.read("/proc/driver/nvidia/version").startswith(VERSION)


def test_a_version_file_is_known_without_its_command_and_amid_a_line() -> None:
    assert host_of(f"it says {VERSION}").read("/proc/driver/nvidia/version") == VERSION + "\n"


def test_what_cat_could_not_show_is_absent_or_refused() -> None:
    host = host_of("$ cat /etc/nv_tegra_release\ncat: /etc/nv_tegra_release: No such file or directory\n$ x")
    assert host.look("files", "/etc/nv_tegra_release") is None
    host = host_of("$ cat /etc/shadow\ncat: /etc/shadow: Permission denied\n$ x")
    assert host.look("files", "/etc/shadow") == {"error": "EACCES"}


def test_what_is_not_in_the_text_is_not_recorded() -> None:
    with pytest.raises(NotRecorded, match="the text does not show /etc/os-release"):
        host_of("hello").read("/etc/os-release")


def test_all_words_are_kept_as_messages_with_the_command_that_printed_them() -> None:
    host = host_of("it broke\n$ sudo dmesg | grep NVRM\nNVRM: something new\n")
    assert host.texts() == (
        ("pasted text", "it broke"),
        ("dmesg", "$ sudo dmesg | grep NVRM\nNVRM: something new\n"),
    )


def test_a_table_is_nvidia_smis_with_and_without_its_command() -> None:
    for text in (f"$ nvidia-smi\n{TABLE}\n", f"look:\n{TABLE}\n"):
        assert "Driver Version: 550.90.07" in host_of(text).run("nvidia-smi").stdout


def test_a_failing_nvidia_smi_has_its_exit_code() -> None:
    host = host_of(
        "$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\nNVML library version: 1.2\n"
    )
    assert host.run("nvidia-smi").exit == 18


def test_lspci_becomes_the_bus_with_the_driver_in_use() -> None:
    text = (
        "$ lspci -nnk -d 10de:\n"
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684] (rev a1)\n"
        "\tSubsystem: somebody [1234:5678]\n\tKernel driver in use: nouveau\n\tKernel modules: nouveau\n"
        "01:00.1 Audio device [0403]: NVIDIA Corporation AD102 High Definition Audio Controller [10de:22ba] (rev a1)\n"
    )
    host = host_of(text)
    folder = "/sys/bus/pci/devices/0000:01:00.0"
    assert host.folder("/sys/bus/pci/devices") == ("0000:01:00.0",)
    assert (host.read(f"{folder}/vendor"), host.read(f"{folder}/device")) == ("0x10de\n", "0x2684\n")
    assert host.link(f"{folder}/driver") == "../../../bus/pci/drivers/nouveau"


def test_a_gpu_without_driver_lines_has_an_untold_driver() -> None:
    host = host_of("$ lspci\n01:00.0 VGA compatible controller: NVIDIA Corporation GP107 (rev a1)\n")
    with pytest.raises(NotRecorded):
        host.link("/sys/bus/pci/devices/0000:01:00.0/driver")


def test_a_bus_without_nvidia_needs_a_whole_listing_or_a_search_that_found_nothing() -> None:
    intel = "".join(f"00:1{number}.0 Host bridge: Intel Corporation Something\n" for number in range(9))
    assert host_of(f"$ lspci\n{intel}").folder("/sys/bus/pci/devices") == ()
    assert host_of("$ lspci | grep -i nvidia\n$ x\n").folder("/sys/bus/pci/devices") == ()
    for text in (f"$ lspci -s 00:10.0\n{intel[:60]}", "$ lspci | grep -i vga\n$ x", "$ lspci | grep -i nvidia"):
        with pytest.raises(NotRecorded):
            host_of(text).folder("/sys/bus/pci/devices")


def test_links_and_nodes_of_a_long_listing_are_recorded() -> None:
    text = (
        "$ ls -l /usr/lib/x86_64-linux-gnu/libcuda.so*\n"
        "lrwxrwxrwx 1 root root 21 May 13 13:12 /usr/lib/x86_64-linux-gnu/libcuda.so.1 -> libcuda.so.570.124.06\n"
        "$ ls -l /dev/nvidia*\n"
        "crw-rw-rw- 1 root root 195, 255 May 25 05:10 /dev/nvidiactl\n"
    )
    host = host_of(text)
    assert host.link("/usr/lib/x86_64-linux-gnu/libcuda.so.1") == "libcuda.so.570.124.06"
    assert host.stat("/dev/nvidiactl").rdev == (195, 255)


def test_a_filtered_listing_shows_no_absence() -> None:
    host = host_of("$ ldconfig -p | grep libcuda\n\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.1\n$ x")
    with pytest.raises(NotRecorded):
        host.run("ldconfig", "-p")


def test_variables_are_taken_from_echo_export_and_env() -> None:
    text = (
        "$ echo $LD_LIBRARY_PATH\n/opt/cuda/lib64\n$ export CUDA_HOME=/usr/local/cuda-12.4\n"
        "$ env | grep CUDA\nCUDA_VISIBLE_DEVICES=0,1\n$ echo $NCCL_DEBUG\n$ x\n"
    )
    host = host_of(text)
    assert host.env("LD_LIBRARY_PATH") == "/opt/cuda/lib64"
    assert host.env("CUDA_HOME") == "/usr/local/cuda-12.4"
    assert host.env("CUDA_VISIBLE_DEVICES") == "0,1"
    assert host.env("NCCL_DEBUG") is None


def test_packages_are_taken_from_pip_conda_and_collect_env() -> None:
    text = (
        "$ pip list | grep torch\ntorch    2.3.1+cu121\n$ python -m torch.utils.collect_env\n"
        "PyTorch version: 2.3.1+cu121\nIs CUDA available: False\n[pip3] nvidia-nccl-cu12==2.20.5\n"
    )
    listing = host_of(text).run("pip", "list").stdout
    assert listing.split("\n")[:2] == ["torch 2.3.1+cu121", "nvidia-nccl-cu12 2.20.5"]


def test_two_hosts_in_prompts_are_two_machines() -> None:
    text = f"root@a:~# nvidia-smi\n{TABLE}\nroot@b:~# cat /proc/driver/nvidia/version\n{VERSION}\n"
    first, second = hosts_of(text.encode(), "text")
    assert (first.label, second.label) == ("a", "b")
    assert first.others() == (second,)
    with pytest.raises(NotRecorded):
        first.read("/proc/driver/nvidia/version")


def test_a_prompt_with_a_containers_id_is_inside_one() -> None:
    text = f"me@box:~$ nvidia-smi\n{TABLE}\nroot@0a1b2c3d4e5f:/# uname -r\n6.8.0-85-generic\n"
    _, second = hosts_of(text.encode(), "text")
    assert second.inside() == ("docker", "the prompt's host name 0a1b2c3d4e5f")


def test_what_docker_run_printed_is_the_containers_and_the_engines_words_are_the_hosts() -> None:
    text = f"$ docker run --rm --gpus all image nvidia-smi\n{TABLE}\n$ nvidia-smi\nNo devices were found\n"
    host, inside = hosts_of(text.encode(), "text")
    assert inside.inside() == ("docker", "docker run --rm --gpus all image nvidia-smi")
    assert host.run("nvidia-smi").exit == 6


def test_two_answers_to_one_question_are_two_moments() -> None:
    text = f"$ nvidia-smi\n{TABLE}\n$ nvidia-smi\nFailed to initialize NVML: Unknown Error\n"
    first, later = hosts_of(text.encode(), "text")
    assert (first.label, later.label) == ("", "later in the text")
    assert later.run("nvidia-smi").exit == 255


def test_a_gzip_file_of_text_is_text() -> None:
    from nvdiag.host.handed import host_of as handed

    assert handed(gzip.compress(b"$ uname -r\n6.8.0\n"), "x").source.kind == "paste"


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=400))
def test_any_bytes_give_at_least_one_machine(data: bytes) -> None:
    hosts = hosts_of(data, "text")
    assert hosts
    assert json.dumps([host.document for host in hosts])


_WORDS = st.sampled_from(
    [
        "$ ", "root@a:~# ", "nvidia-smi", VERSION, TABLE, "```", "\n", "> ", "lsmod", "nvidia 56 1", " | grep ",
        "modinfo nvidia", "filename:       /lib/modules/6.8.0/nvidia.ko", "version:        550.1", "echo $CUDA_HOME",
        "docker run -it x", "#012", "Failed to initialize NVML: Unknown Error", "\x1b[31m", "\r",
        "01:00.0 3D controller: NVIDIA Corporation X [10de:2684]",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(_WORDS, max_size=14).map("".join))
def test_any_mixture_of_commands_and_outputs_gives_at_least_one_machine(text: str) -> None:
    assert hosts_of(text.encode(), "text")
