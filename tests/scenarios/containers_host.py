"""Hosts of GPU containers: engines, the NVIDIA Container Toolkit, CDI specifications, Kubernetes nodes.

No package of the toolkit is to be had where these tests run. So the specifications are written here, in the form of
those that its releases 1.17 to 1.20 write: the toolkit's own tests (cmd/nvidia-ctk/cdi/generate/generate_test.go) and
specifications that people have shown of real machines with 1.20.0 (Rocky 9, one Tesla T4) have the same keys in the
same order. A test holds them to the CDI schema. Paths of programs, settings and sockets are those of the packages.
"""

from __future__ import annotations

import json
from typing import Any

from tests.scenarios import machines
from tests.scenarios.tree import Tree

WELL = "570.172.08"
OLD = "570.169"
UUID = "GPU-3b5d5b1c-3b1c-8e62-5b4e-0d3c2b1a4f5e"
RUN = {"/var/run": "/run"}

CONFIG_TOML = """\
#accept-nvidia-visible-devices-as-volume-mounts = false
#accept-nvidia-visible-devices-envvar-when-unprivileged = true
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"
#swarm-resource = "DOCKER_RESOURCE_GPU"

[nvidia-container-cli]
#debug = "/var/log/nvidia-container-toolkit.log"
environment = []
#ldcache = "/etc/ld.so.cache"
ldconfig = "@/sbin/ldconfig.real"
load-kmods = true
#no-cgroups = false
#path = "/usr/bin/nvidia-container-cli"
#root = "/run/nvidia/driver"
#user = "root:video"

[nvidia-container-runtime]
#debug = "/var/log/nvidia-container-runtime.log"
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]

[nvidia-container-runtime.modes]

[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
default-kind = "nvidia.com/gpu"
spec-dirs = ["/etc/cdi", "/var/run/cdi"]

[nvidia-container-runtime.modes.csv]
mount-spec-path = "/etc/nvidia-container-runtime/host-files-for-container.d"

[nvidia-container-runtime-hook]
path = "nvidia-container-runtime-hook"
skip-mode-detection = false

[nvidia-ctk]
path = "nvidia-ctk"
"""


def toolkit(version: str = "1.20.0", *, base_only: bool = False, ldconfig: str = "/usr/sbin/ldconfig.real") -> Tree:
    """The toolkit's packages; nvidia-container-toolkit-base alone has no hook and no nvidia-container-cli."""
    programs = ["nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook"]
    programs += [] if base_only else ["nvidia-container-runtime-hook", "nvidia-container-cli"]
    files = {f"/usr/bin/{name}": "" for name in programs} | {ldconfig: ""}
    files["/etc/nvidia-container-runtime/config.toml"] = CONFIG_TOML
    said = f"NVIDIA Container Toolkit CLI version {version}\ncommit: 5505e2f94d9aaa08561490db974ba3cd676af20\n"
    return Tree(files=files, commands={"nvidia-ctk --version": {"exit": 0, "stdout": said, "stderr": ""}})


def refresh(active: str = "active", result: str = "success") -> Tree:
    """The service that toolkits from 1.18 on bring, after its last run."""
    key = "systemctl show --property=LoadState,ActiveState,SubState,UnitFileState,Result nvidia-cdi-refresh.service"
    told = f"LoadState=loaded\nActiveState={active}\nSubState=exited\nUnitFileState=enabled\nResult={result}\n"
    files = {f"/usr/lib/systemd/system/nvidia-cdi-refresh.{kind}": "[Unit]\n" for kind in ("path", "service")}
    return Tree(files=files, commands={key: {"exit": 0, "stdout": told, "stderr": ""}})


def driver_files(release: str, root: str = "") -> Tree:
    """What of a driver a specification names besides its libraries, the DRM nodes among it."""
    nodes = {"/dev/dri/card0": (machines.MODE, "226:0"), "/dev/dri/renderD128": (machines.MODE, "226:128")}
    names = (
        "nvidia-smi",
        "nvidia-cuda-mps-control",
        "nvidia-cuda-mps-server",
        "nvidia-debugdump",
        "nvidia-persistenced",
    )
    files = {f"{root}/usr/bin/{name}": "" for name in names}
    files |= {f"{root}/usr/lib/firmware/nvidia/{release}/{name}": "" for name in ("gsp_ga10x.bin", "gsp_tu10x.bin")}
    return Tree(files=files, nodes=nodes)


def specification(
    release: str = WELL,
    *,
    libraries: str = machines.MULTIARCH,
    root: str = "",
    kind: str = "nvidia.com/gpu",
    names: tuple[str, ...] = ("0", UUID, "all"),
    hook: str = "/usr/bin/nvidia-cdi-hook",
    hooks: tuple[str, ...] = ("create-symlinks", "enable-cuda-compat", "update-ldcache"),
    version: str = "0.5.0",
) -> dict[str, Any]:
    """A specification for one GPU as nvidia-ctk has it in mind; `as_yaml` and json.dumps write it down."""
    arguments = {
        "create-symlinks": ["--link", f"libcuda.so.1::{libraries}/libcuda.so"],
        "enable-cuda-compat": [f"--host-driver-version={release}"],
        "update-ldcache": ["--folder", libraries],
    }
    called = ["nvidia-ctk", "hook"] if hook.endswith("nvidia-ctk") else [hook.rpartition("/")[2]]
    mounts = [f"/usr/bin/{name}" for name in ("nvidia-cuda-mps-control", "nvidia-debugdump", "nvidia-smi")]
    mounts += [f"{libraries}/{stem}.so.{release}" for stem in ("libcuda", "libnvidia-ml")]
    mounts += [f"/lib/firmware/nvidia/{release}/{name}" for name in ("gsp_ga10x.bin", "gsp_tu10x.bin")]
    nodes = [_node("/dev/nvidia0", 195), _node("/dev/dri/card0", 226, gid=44), _node("/dev/dri/renderD128", 226, 128)]
    return {
        "cdiVersion": version,
        "kind": kind,
        "devices": [{"name": name, "containerEdits": {"deviceNodes": nodes}} for name in names],
        "containerEdits": {
            "env": [f"NVIDIA_CTK_LIBCUDA_DIR={libraries}", "NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [{"path": path} for path in ("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl")],
            "hooks": [
                {
                    "hookName": "createContainer",
                    "path": hook,
                    "args": [*called, name, *arguments.get(name, [])],
                    "env": ["NVIDIA_CTK_DEBUG=false"],
                }
                for name in hooks
            ],
            "mounts": [
                {
                    "hostPath": f"{root}{path}",
                    "containerPath": path,
                    "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"],
                }
                for path in mounts
            ],
        },
    }


def _node(path: str, major: int, minor: int = 0, gid: int = 0) -> dict[str, Any]:
    """A device node as the toolkit writes it down: what is 0 is left out."""
    numbers = {"major": major, "minor": minor}
    return {
        "path": path,
        **{name: number for name, number in numbers.items() if number},
        "fileMode": 0o660 if gid else 0o666,
        "permissions": "rwm",
        **({"gid": gid} if gid else {}),
    }


def as_yaml(document: dict[str, Any]) -> str:
    """In the style of nvidia-ctk's: four spaces, lists further in, numbers in quotes where they are names."""
    return "---\n" + "\n".join(_lines(document, "")) + "\n"


def _lines(value: Any, before: str) -> list[str]:
    if isinstance(value, dict):
        found = []
        for key, one in value.items():
            if isinstance(one, (dict, list)):
                found += [f"{before}{key}:", *_lines(one, before + "    ")]
            else:
                found.append(f"{before}{key}: {_scalar(one)}")
        return found
    found = []
    for one in value:
        lines = _lines(one, before + "  ") if isinstance(one, (dict, list)) else [f"{before}  {_scalar(one)}"]
        found += [f"{before}- {lines[0].lstrip()}", *lines[1:]]
    return found


def _scalar(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) and value.isdigit() else str(value)


def host(release: str = WELL) -> Tree:
    """Ubuntu 24.04 with a driver that is well."""
    whole = machines.joined(machines.ubuntu_dkms(release, release, release), driver_files(release))
    return whole.but(links=RUN)


def docker_engine(settings: str | None) -> Tree:
    """Docker's own packages, which bring containerd without its CRI plug-in."""
    files = {"/usr/bin/dockerd": "", "/usr/bin/docker": "", "/usr/bin/containerd": ""}
    files["/etc/containerd/config.toml"] = 'disabled_plugins = ["cri"]\n'
    return Tree(files=files | ({"/etc/docker/daemon.json": settings} if settings is not None else {}))


def daemon_json(**more: Any) -> str:
    """What `nvidia-ctk runtime configure --runtime=docker` writes, with other keys."""
    runtimes = {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
    return json.dumps({**more, "runtimes": runtimes}, indent=4)


def docker_legacy() -> Tree:
    """Docker with the runtime nvidia and a toolkit of before CDI."""
    return machines.joined(host(), toolkit("1.14.3"), docker_engine(daemon_json()))


def docker_rootless(version: str = "1.20.0", config: str | None = None) -> Tree:
    """A user's own Docker, whose settings lie in the home; root's daemon is not set up for GPUs."""
    files = {"~/.config/docker/daemon.json": daemon_json()}
    if config is not None:
        files["/etc/nvidia-container-runtime/config.toml"] = config
    return machines.joined(host(), toolkit(version), docker_engine(None), Tree(files=files))


def docker_cdi(release: str = WELL, spec_of: str = WELL) -> Tree:
    """Docker with CDI on, and the specification that the toolkit's service keeps."""
    spec = {"/run/cdi/nvidia.yaml": as_yaml(specification(spec_of))}
    settings = json.dumps({"features": {"cdi": True}}, indent=4)
    return machines.joined(host(release), toolkit(), refresh(), docker_engine(settings), Tree(files=spec))


def podman_cdi(release: str = WELL, spec_of: str = WELL) -> Tree:
    """Fedora with Podman, and a specification that somebody made once."""
    fedora = machines.joined(machines.rpm_machine("fedora", release, release, release), driver_files(release))
    spec = specification(spec_of, libraries="/usr/lib64", hook="/usr/bin/nvidia-ctk", hooks=("update-ldcache",))
    files = {"/usr/bin/podman": "", "/etc/cdi/nvidia.yaml": as_yaml(spec)}
    return machines.joined(fedora.but(links=RUN), toolkit("1.16.2", ldconfig="/sbin/ldconfig"), Tree(files=files))


CONTAINERD_2 = """\
version = 2

[plugins]

  [plugins."io.containerd.grpc.v1.cri"]

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "nvidia"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
          privileged_without_host_devices = false
          runtime_engine = ""
          runtime_root = ""
          runtime_type = "io.containerd.runc.v2"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
            BinaryName = "/usr/bin/nvidia-container-runtime"
            SystemdCgroup = true

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"
"""


def kubernetes_node(settings: str = CONTAINERD_2) -> Tree:
    """A node of kubeadm with containerd and NVIDIA's device plug-in."""
    files = {
        "/usr/bin/kubelet": "",
        "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n",
        "/var/lib/kubelet/device-plugins/nvidia-gpu.sock": "",
        "/usr/bin/containerd": "",
        "/etc/containerd/config.toml": settings,
    }
    return machines.joined(host(), toolkit("1.17.8"), Tree(files=files))


K3S = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
K3S_TOML = """\
# File generated by k3s. DO NOT EDIT. Use config-v3.toml.tmpl instead.
version = 3
imports = ["/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/*.toml"]
root = "/var/lib/rancher/k3s/agent/containerd"

[plugins.'io.containerd.cri.v1.runtime']
  enable_selinux = false
  enable_unprivileged_ports = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = true
"""
K3S_NVIDIA = """
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'nvidia']
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'nvidia'.options]
  BinaryName = "/usr/bin/nvidia-container-runtime"
  SystemdCgroup = true
"""


def k3s_node(*, found_the_toolkit: bool = True) -> Tree:
    """k3s, which looks for the toolkit when it starts; its agent's folder is root's alone."""
    files = {"/usr/local/bin/k3s": "", K3S: K3S_TOML + (K3S_NVIDIA if found_the_toolkit else "")}
    return machines.joined(host(), toolkit("1.18.2", base_only=True), Tree(files=files))


def gpu_operator_node(release: str = WELL, container: str = WELL) -> Tree:
    """A node on which the GPU Operator brings driver and toolkit; containerd reads its drop-in file."""
    node = machines.ubuntu_dkms(release, None, None).but(
        probes={name: {"dlopen_error": "no such file"} for name in ("nvml", "cuda")}, links=RUN
    )
    root, tools = "/run/nvidia/driver", "/usr/local/nvidia/toolkit"
    libraries = f"{root}{machines.MULTIARCH}"
    links = {f"{libraries}/{stem}.so.1": f"{stem}.so.{container}" for stem in ("libcuda", "libnvidia-ml")}
    sizes = {"libcuda": 88_000_000, "libnvidia-ml": 2_200_000}
    drop_in = CONTAINERD_2.replace("/usr/bin/nvidia-container-runtime", f"{tools}/nvidia-container-runtime")
    spec = specification(
        container, root=root, kind="management.nvidia.com/gpu", names=("all",), hook=f"{tools}/nvidia-cdi-hook"
    )
    files = {
        **{f"{tools}/{name}": "" for name in ("nvidia-container-runtime", "nvidia-cdi-hook", "nvidia-ctk")},
        **{f"/run/nvidia/validations/{name}-ready": "" for name in ("driver", "toolkit", "cuda", "plugin")},
        "/usr/bin/kubelet": "",
        "/var/lib/kubelet/device-plugins/nvidia-gpu.sock": "",
        "/usr/bin/containerd": "",
        "/etc/containerd/config.toml": 'imports = ["/etc/containerd/conf.d/*.toml"]\nversion = 2\n',
        "/etc/containerd/conf.d/99-nvidia.toml": drop_in,
        "/run/cdi/management.nvidia.com-gpu.yaml": as_yaml(spec),
    }
    more = Tree(
        files={path.replace(f"{root}/lib/", f"{root}/usr/lib/"): text for path, text in files.items()},
        links={**links, f"{root}/lib": "usr/lib"},
        libraries={f"{libraries}/{stem}.so.{container}": size for stem, size in sizes.items()},
    )
    return machines.joined(node, driver_files(container, root), more)


CRIO_TOML = """\
[crio]

  [crio.runtime]
    default_runtime = "nvidia"

    [crio.runtime.runtimes]

      [crio.runtime.runtimes.nvidia]
        runtime_path = "/usr/bin/nvidia-container-runtime"
        runtime_type = "oci"
"""


def cri_o_node(drop_in: str = "/etc/crio/crio.conf.d/99-nvidia.toml") -> Tree:
    """A node with CRI-O and the drop-in file that the toolkit writes."""
    crun = '[crio.runtime]\ndefault_runtime = "crun"\n\n[crio.runtime.runtimes.crun]\nruntime_path = "/usr/bin/crun"\n'
    files = {
        "/usr/bin/kubelet": "",
        "/usr/bin/crio": "",
        "/etc/crio/crio.conf.d/10-crio.conf": crun,
        drop_in: CRIO_TOML,
    }
    return machines.joined(host(), toolkit("1.19.0"), Tree(files=files))


HEALTHY = {
    "docker, legacy": docker_legacy,
    "docker, CDI": docker_cdi,
    "docker, rootless": docker_rootless,
    "podman, CDI": podman_cdi,
    "a Kubernetes node": kubernetes_node,
    "a k3s node": k3s_node,
    "a GPU Operator node": gpu_operator_node,
    "a CRI-O node": cri_o_node,
}
