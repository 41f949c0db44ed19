"""Snakemake for many dry runs: a process imports it once, and each run is a fork of that process.

To import Snakemake takes longer than to plan a study. What a run reads of its surroundings (folder, environment,
arguments, import path, output) is set anew in the fork, as `python -m snakemake` would find it.

    python preloaded.py     reads requests and writes exit codes, a line of JSON each; see `Snakemake`
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


class Snakemake:
    """The process that has imported Snakemake, started with the first run."""

    def __init__(self):
        self._process = None

    def run(self, arguments, folder, environment):
        """Exit code of ``snakemake ARGUMENTS`` in ``folder``, and its stdout and stderr together."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        with tempfile.NamedTemporaryFile() as output:
            request = {
                "arguments": list(arguments),
                "folder": str(folder),
                "environment": environment,
                "output": output.name,
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the process that runs Snakemake has ended"
            return int(answer), Path(output.name).read_text()

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(30)
            self._process.stdout.close()
            self._process = None


def serve():
    from importlib.util import find_spec

    from snakemake import cli
    from snakemake.workflow import Workflow

    program = find_spec("snakemake.__main__").origin
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            fork(program, cli.main, Workflow, **request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def fork(program, main, workflow, arguments, folder, environment, output):
    """Become ``python -m snakemake ARGUMENTS`` in ``folder``."""
    status = 1
    try:
        file = os.open(output, os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, place in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(number, place)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = workflow._rundir = folder
        sys.argv[:] = [program, *arguments]
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
