"""Logs of package managers in the forms that the programs write, with the driver's change from one release to another.

All of them tell of 2025-11-25, 06:12; most have something before and after that is none of the driver's business.
"""

APT_HISTORY = """
Start-Date: 2025-11-20  09:00:01
Commandline: apt install htop
Requested-By: alice (1000)
Install: htop:amd64 (3.3.0-4build1)
End-Date: 2025-11-20  09:00:05

Start-Date: 2025-11-24  06:40:11
Commandline: /usr/bin/unattended-upgrade
Install: linux-image-6.8.0-90-generic:amd64 (6.8.0-90.91, automatic), linux-modules-6.8.0-90-generic:amd64 (6.8.0-90.91, automatic)
End-Date: 2025-11-24  06:41:40

Start-Date: 2025-11-25  06:12:04
Commandline: /usr/bin/unattended-upgrade
Upgrade: libnvidia-compute-570:amd64 (570.169-0ubuntu0.24.04.1, 570.172.08-0ubuntu0.24.04.1), libnvidia-compute-570:i386 (570.169-0ubuntu0.24.04.1, 570.172.08-0ubuntu0.24.04.1), nvidia-dkms-570-open:amd64 (570.169-0ubuntu0.24.04.1, 570.172.08-0ubuntu0.24.04.1), libc6:amd64 (2.39-0ubuntu8.5, 2.39-0ubuntu8.6), nvidia-container-toolkit:amd64 (1.17.7-1, 1.17.8-1)
End-Date: 2025-11-25  06:14:31
"""  # noqa: E501

APT_TERM = """
Log started: 2025-11-25  06:12:04
(Reading database ... 242314 files and directories currently installed.)
Preparing to unpack .../libnvidia-compute-570_570.172.08-0ubuntu0.24.04.1_amd64.deb ...
Unpacking libnvidia-compute-570:amd64 (570.172.08-0ubuntu0.24.04.1) over (570.169-0ubuntu0.24.04.1) ...
Setting up libnvidia-compute-570:amd64 (570.172.08-0ubuntu0.24.04.1) ...
Log ended: 2025-11-25  06:14:31
"""

DPKG = """\
2025-11-20 09:00:02 startup archives unpack
2025-11-20 09:00:02 install htop:amd64 <none> 3.3.0-4build1
2025-11-20 09:00:03 status installed htop:amd64 3.3.0-4build1
2025-11-25 06:12:30 startup archives unpack
2025-11-25 06:12:31 upgrade libnvidia-compute-570:amd64 570.169-0ubuntu0.24.04.1 570.172.08-0ubuntu0.24.04.1
2025-11-25 06:12:31 status half-configured libnvidia-compute-570:amd64 570.169-0ubuntu0.24.04.1
2025-11-25 06:12:31 status unpacked libnvidia-compute-570:amd64 570.172.08-0ubuntu0.24.04.1
2025-11-25 06:12:33 upgrade nvidia-dkms-570-open:amd64 570.169-0ubuntu0.24.04.1 570.172.08-0ubuntu0.24.04.1
2025-11-25 06:12:33 status unpacked nvidia-dkms-570-open:amd64 570.172.08-0ubuntu0.24.04.1
2025-11-25 06:12:40 startup packages configure
2025-11-25 06:12:40 configure libnvidia-compute-570:amd64 570.172.08-0ubuntu0.24.04.1 <none>
2025-11-25 06:12:40 status installed libnvidia-compute-570:amd64 570.172.08-0ubuntu0.24.04.1
2025-11-25 06:13:55 status installed nvidia-dkms-570-open:amd64 570.172.08-0ubuntu0.24.04.1
"""

UNATTENDED = """\
2025-11-25 06:12:01,592 INFO Starting unattended upgrades script
2025-11-25 06:12:01,593 INFO Allowed origins are: o=Ubuntu,a=noble, o=Ubuntu,a=noble-security
2025-11-25 06:12:03,029 INFO Packages that will be upgraded: libc6 libnvidia-compute-570 nvidia-dkms-570-open
2025-11-25 06:12:03,029 INFO Writing dpkg log to /var/log/unattended-upgrades/unattended-upgrades-dpkg.log
2025-11-25 06:14:32,421 INFO All upgrades installed
"""

DNF_RPM = """\
2025-11-20T09:00:00+0100 INFO --- logging initialized ---
2025-11-20T09:00:03+0100 SUBDEBUG Installed: kernel-core-5.14.0-570.42.2.el9_6.x86_64
2025-11-25T06:12:01+0100 INFO --- logging initialized ---
2025-11-25T06:12:30+0100 SUBDEBUG Upgrade: nvidia-driver-cuda-libs-3:570.172.08-1.el9.x86_64
2025-11-25T06:12:31+0100 SUBDEBUG Upgrade: kmod-nvidia-open-dkms-3:570.172.08-1.el9.noarch
2025-11-25T06:12:31+0100 INFO warning: /etc/nvidia/x.conf created as /etc/nvidia/x.conf.rpmnew
2025-11-25T06:12:35+0100 SUBDEBUG Upgraded: nvidia-driver-cuda-libs-3:570.169-1.el9.x86_64
2025-11-25T06:12:36+0100 SUBDEBUG Upgraded: kmod-nvidia-open-dkms-3:570.169-1.el9.noarch
2025-11-25T06:12:36+0100 SUBDEBUG Upgraded: bash-5.1.8-8.el9.x86_64
"""

DNF = """\
2025-11-25T06:10:01+0100 DDEBUG Command: dnf makecache --timer
2025-11-25T06:12:01+0100 INFO --- logging initialized ---
2025-11-25T06:12:01+0100 DDEBUG timer: config: 3 ms
2025-11-25T06:12:01+0100 DEBUG DNF version: 4.14.0
2025-11-25T06:12:01+0100 DDEBUG Command: dnf upgrade -y
2025-11-25T06:12:01+0100 DDEBUG Installroot: /
"""

DNF5 = """\
2025-11-25T05:12:01+0000 [4711] INFO --- DNF5 launched with arguments: "dnf upgrade --refresh" ---
2025-11-25T05:12:28+0000 [4711] INFO RPM callback verify start, total 2
2025-11-25T05:12:30+0000 [4711] INFO RPM callback install start "xorg-x11-drv-nvidia-cuda-libs-3:570.172.08-1.fc42.x86_64" total 9
2025-11-25T05:12:31+0000 [4711] INFO RPM callback install stop "xorg-x11-drv-nvidia-cuda-libs-3:570.172.08-1.fc42.x86_64" amount 9 total 9
2025-11-25T05:12:40+0000 [4711] INFO RPM callback uninstall start "xorg-x11-drv-nvidia-cuda-libs-3:570.169-1.fc42.x86_64" total 9
"""  # noqa: E501

YUM = """\
Dec 30 23:10:00 Installed: 3:nvidia-driver-cuda-libs-418.67-1.el7.x86_64
Jan 04 09:00:00 Updated: bash-4.2.46-34.el7.x86_64
Nov 25 06:12:04 Updated: 3:nvidia-driver-cuda-libs-418.87.00-1.el7.x86_64
Nov 25 06:12:09 Erased: kmod-nvidia-latest-dkms-418.67-1.el7.x86_64
"""

DNF_HISTORY_INFO = """\
Transaction ID : 42
Begin time     : Tue 25 Nov 2025 06:12:29 AM CET
Begin rpmdb    : 5b0f1ba3657aedab32fc1209c6ebe4c4949956fdb8c11ce8e3aeb2c561d853f6
End time       : Tue 25 Nov 2025 06:13:07 AM CET (38 seconds)
End rpmdb      : 0258073714c2a00ca3abe315df11f7fae6d09309c0f4247dfaf090e2ab08f51e
User           : Alice Example <alice>
Return-Code    : Success
Releasever     : 9
Command Line   : upgrade -y
Comment        :
Packages Altered:
    Upgrade  nvidia-driver-cuda-libs-3:570.172.08-1.el9.x86_64 @cuda-rhel9-x86_64
    Upgraded nvidia-driver-cuda-libs-3:570.169-1.el9.x86_64    @@System
"""

DNF5_HISTORY_INFO = """\
Transaction ID : 7
Begin time     : 2025-11-25 06:12:29
Begin rpmdb    : 5b0f1ba3657aedab32fc1209c6ebe4c4949956fdb8c11ce8e3aeb2c561d853f6
End time       : 2025-11-25 06:13:07
User           : 1000 Alice Example <alice>
Status         : Ok
Releasever     : 42
Description    : dnf upgrade
Comment        :
Packages altered:
  Action   Package                                                  Reason     Repository
  Upgrade  xorg-x11-drv-nvidia-cuda-libs-3:570.172.08-1.fc42.x86_64 Dependency rpmfusion-nonfree-updates
  Replaced xorg-x11-drv-nvidia-cuda-libs-3:570.169-1.fc42.x86_64    Dependency @System
"""

ZYPP = """\
# 2025-06-02 10:00:00 something that a scriptlet printed
2025-06-02 10:00:00|command|root@node7|'zypper' 'in' 'nvidia-compute-G06'|
2025-06-02 10:00:05|install|nvidia-compute-G06|570.169-150600.1.1|x86_64|root@node7|nvidia|4421dfa7|
2025-06-02 10:00:09|install|nvidia-open-driver-G06-signed-kmp-default|570.169_k6.4.0_150600.21-150600.1.1|x86_64||nvidia|86bd|
2025-11-25 06:12:01|command|carol@node7|'zypper' '-n' 'up'|
2025-11-25 06:12:04|install|nvidia-compute-G06|570.172.08-150600.2.1|x86_64||nvidia|631030ed|
2025-11-25 06:12:08|install|libzypp|17.37.18-150600.3.82.1|x86_64||update|aa|
2025-11-25 06:12:09|remove |nvidia-open-driver-G06-signed-kmp-default|570.169_k6.4.0_150600.21-150600.1.1|x86_64|carol@node7|
"""  # noqa: E501

PACMAN = """\
[2025-11-20T09:00:00+0100] [PACMAN] Running 'pacman -S htop'
[2025-11-20T09:00:02+0100] [ALPM] transaction started
[2025-11-20T09:00:02+0100] [ALPM] installed htop (3.4.1-1)
[2025-11-20T09:00:02+0100] [ALPM] transaction completed
[2025-11-25T06:12:01+0100] [PACMAN] Running 'pacman -Syu'
[2025-11-25T06:12:01+0100] [PACMAN] synchronizing package lists
[2025-11-25T06:12:03+0100] [PACMAN] starting full system upgrade
[2025-11-25T06:12:20+0100] [ALPM] transaction started
[2025-11-25T06:12:21+0100] [ALPM] upgraded linux (6.16.7.arch1-1 -> 6.16.8.arch1-1)
[2025-11-25T06:12:22+0100] [ALPM] upgraded nvidia-utils (580.76.05-1 -> 580.82.07-1)
[2025-11-25T06:12:22+0100] [ALPM-SCRIPTLET] ==> something for the person to read
[2025-11-25T06:12:23+0100] [ALPM] upgraded nvidia-open (580.76.05-4 -> 580.82.07-2)
[2025-11-25T06:12:24+0100] [ALPM] upgraded nvidia-settings (580.76.05-1 -> 580.82.07-1)
[2025-11-25T06:12:25+0100] [ALPM] transaction completed
"""

OSTREE_UPGRADE = """\
Upgraded:
  kernel-core 6.16.4-200.fc42 -> 6.16.5-200.fc42
  xorg-x11-drv-nvidia-cuda-libs 3:570.169-1.fc42 -> 3:570.172.08-1.fc42
  zlib 1.3-1.fc42 -> 1.3.1-1.fc42
"""

OSTREE_STATUS = """\
State: idle
Deployments:
  fedora:fedora/42/x86_64/silverblue
                  Version: 42.20251125.0 (2025-11-25T05:12:00Z)
               BaseCommit: 60a9643b331204d7a0d04aa2826e34416cb31ccd901c667752dcdd65ba49e49d
                     Diff: 3 upgraded
          LayeredPackages: akmod-nvidia xorg-x11-drv-nvidia-cuda

\u25cf fedora:fedora/42/x86_64/silverblue
                  Version: 42.20251101.0 (2025-11-01T00:52:12Z)
               BaseCommit: 8a8a2c0d9bd1d38a9f23609bee82138e480625fea39683f43bb90fa668e99559
"""

INSTALLER = """\
nvidia-installer log file '/var/log/nvidia-installer.log'
creation time: Tue Nov 25 06:12:04 2025
installer version: 570.172.08

PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

nvidia-installer command line:
    ./nvidia-installer
    --silent
    --dkms

Using built-in stream user interface
-> Detected 8 CPUs online; setting concurrency level to 8.
-> Installing NVIDIA driver version 570.172.08.
-> Uninstallation of existing driver: NVIDIA Accelerated Graphics Driver for Linux-x86_64 (570.169) is complete.
-> Installing 'NVIDIA Accelerated Graphics Driver for Linux-x86_64' (570.172.08):
-> done.
-> Installation of the NVIDIA Accelerated Graphics Driver for Linux-x86_64 (version: 570.172.08) is now complete.
"""

ALL = (
    APT_HISTORY, APT_TERM, DPKG, UNATTENDED, DNF_RPM, DNF, DNF5, YUM, DNF_HISTORY_INFO, DNF5_HISTORY_INFO, ZYPP, PACMAN,
    OSTREE_UPGRADE, OSTREE_STATUS, INSTALLER,
)  # fmt: skip
