"""Run the blocks of a document in the present folder: a process of its own, so that nothing of a test run is in it.

    python execute.py DOCUMENT

Prints one JSON object, see `documents.execute`. A block that fails ends it with exit code 1.
"""

import contextlib
import io
import json
import resource
import subprocess
import sys
import traceback
from pathlib import Path

from documents import blocks_of, steps_of


def main(document: Path) -> None:
    namespace: dict = {"__name__": "__main__"}
    outputs = []
    for block, _ in steps_of(blocks_of(document.read_text(encoding="utf-8"))):
        try:
            outputs.append(shell(block.text) if block.language == "sh" else python(block, document, namespace))
        except Exception as error:
            said = error.stderr if isinstance(error, subprocess.CalledProcessError) else traceback.format_exc()
            sys.exit(f"line {block.start + 1}: this block failed:\n{block.text}\n{said}")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    import fcl

    facts = {"seconds": sum(part.ru_utime + part.ru_stime for part in used), "library": fcl.__file__}
    print(json.dumps({"outputs": outputs, **facts}))


def shell(text: str) -> str:
    command = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def python(block, document: Path, namespace: dict) -> str:
    padded = "\n" * block.start + block.text  # so that errors name the line of the document
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(padded, str(document), "exec"), namespace)
    return said.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
