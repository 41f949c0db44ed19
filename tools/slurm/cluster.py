"""A temporary Slurm installation on this machine for tests: munged, slurmctld and one slurmd with a dummy GPU.

Uses Debian packages, as root. The configuration must be in /etc/slurm, since the plugin's job steps drop SLURM_CONF; an
existing one is moved aside and restored. Nothing else is changed, but missing packages stay installed.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged")
CONFIGURATION = Path("/etc/slurm")
SET_ASIDE = Path("/etc/slurm.before-fcl-test")
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
PORTS = (6817, 6818)

# GPU: Slurm rejects a count without a file, so the GPU is /dev/null; jobs with it get CUDA_VISIBLE_DEVICES=0. More CPUs
# and memory than available are declared (config_overrides), since a job that requests more than the node has would wait
# forever; nothing is enforced, the test checks what jobs request.
FILES = {
    "slurm.conf": """\
ClusterName=fcl-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
SlurmdParameters=config_overrides
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdLogFile={work}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=256000 Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
""",
    "gres.conf": "NodeName={host} Name=gpu File=/dev/null\n",
    "cgroup.conf": "CgroupAutomount=no\n",
}


class Refused(Exception):
    """This machine is not suitable for a test cluster."""


def check_machine():
    """Raise `Refused` with a reason unless a cluster can be set up here without disturbing another one."""
    if os.geteuid() != 0:
        raise Refused("root is needed: Slurm's daemons start jobs as their owners, and its configuration is in /etc")
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Refused("Debian or a system made of it is needed: the packages are got with apt-get")
    if shutil.which("scontrol") and _run("scontrol", "ping").returncode == 0:
        raise Refused("a Slurm controller is running here: this test brings its own and would disturb it")
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise Refused(f"port {port}, one of Slurm's, is in use on this machine")


class Cluster:
    """Context manager: the cluster runs inside. `work` contains state and logs and is removed unless `keep` is set."""

    def __init__(self):
        self.work = Path(tempfile.mkdtemp(prefix="fcl-slurm-"))
        self.keep = False
        self._daemons = []
        self._made_munge_folder = False

    def __enter__(self):
        try:
            self._install()
            self._configure()
            self._start()
        except BaseException:
            for log in sorted(self.work.glob("*.*")):
                print(f"{log}:\n{log.read_text()[-2000:]}", file=sys.stderr)
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stop()
        if SET_ASIDE.exists():
            shutil.rmtree(CONFIGURATION, ignore_errors=True)
            SET_ASIDE.rename(CONFIGURATION)
        if not self.keep:
            shutil.rmtree(self.work, ignore_errors=True)

    def jobs(self):
        """scontrol output for all jobs since the start, in order: one dictionary per job."""
        return parse_jobs(_run("scontrol", "--oneliner", "show", "job").stdout)

    def cancel_jobs(self):
        """Cancel all jobs and wait for them to end, at most one minute."""
        _run("scancel", "--user=root")
        with suppress(TimeoutError):
            _wait(lambda: not _run("squeue", "--noheader").stdout.strip(), "end of the jobs")

    def _install(self):
        if all(map(shutil.which, PROGRAMS)):
            return
        print(f"installing {' and '.join(PACKAGES)}; they stay installed", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ("apt-get", "update"),
            ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES),
        ):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    def _configure(self):
        if SET_ASIDE.exists():  # left by a killed test
            shutil.rmtree(CONFIGURATION, ignore_errors=True)
        else:
            CONFIGURATION.mkdir(exist_ok=True)
            CONFIGURATION.rename(SET_ASIDE)
        CONFIGURATION.mkdir()
        for name, text in FILES.items():
            (CONFIGURATION / name).write_text(text.format(host=_host(), work=self.work))
        for folder in ("state", "spool"):
            (self.work / folder).mkdir()

    def _start(self):
        if not MUNGE_SOCKET.exists():
            if not MUNGE_SOCKET.parent.exists():
                MUNGE_SOCKET.parent.mkdir(mode=0o755)
                shutil.chown(MUNGE_SOCKET.parent, "munge", "munge")
                self._made_munge_folder = True
            self._daemon("munged", "--foreground", user="munge", group="munge", extra_groups=[])
            _wait(MUNGE_SOCKET.exists, "start of munged")
        self._daemon("slurmctld", "-D")
        _wait(lambda: _run("scontrol", "ping").returncode == 0, "start of slurmctld")
        self._daemon("slurmd", "-D")
        _wait(lambda: "idle" in _run("sinfo", "--noheader", "--format=%t").stdout, "start of slurmd")

    def _daemon(self, program, *arguments, **user):
        log = (self.work / f"{program}.out").open("w")
        self._daemons.append(subprocess.Popen([program, *arguments], stdout=log, stderr=log, **user))

    def _stop(self):
        if len(self._daemons) > 1:
            self.cancel_jobs()
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if self._made_munge_folder:
            shutil.rmtree(MUNGE_SOCKET.parent, ignore_errors=True)


def parse_jobs(text):
    """`scontrol --oneliner show job` -> one dictionary per job."""
    return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines() if line.startswith("JobId=")]


def _host():
    return socket.gethostname().split(".")[0]


def _run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _wait(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.5)
