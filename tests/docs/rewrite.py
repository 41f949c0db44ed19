"""Write the outputs that are stated in the documents anew, from runs of their commands with this source tree.

    python tests/docs/rewrite.py                    all of them
    python tests/docs/rewrite.py docs/tutorial.md   some

Read the difference before it is committed: prose beside an output may no longer fit.
"""

import os
import sys
import tempfile
from pathlib import Path

from documents import execute, rewritten

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("docs/tutorial.md", "docs/using.md")


def environment(library: Path, programs: Path) -> dict[str, str]:
    """Variables under which the package in the folder ``library`` is found, and ``fcl`` as a command of its own."""
    programs.mkdir(parents=True, exist_ok=True)
    for name, arguments in (("fcl", "-m fcl.cli "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": path, "PYTHONPATH": str(library), "OMP_NUM_THREADS": "1"}


def main(names: list[str]) -> None:
    for name in names:
        document = ROOT / name
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "here").mkdir()
            ran = execute(document, Path(folder) / "here", environment(ROOT / "src", Path(folder) / "bin"))
        text = document.read_text(encoding="utf-8")
        new = rewritten(text, ran["outputs"])
        document.write_text(new, encoding="utf-8")
        print(f"{name}: {'written anew' if new != text else 'as it was'}; {ran['seconds']:.0f} s of CPU time")


if __name__ == "__main__":
    main(sys.argv[1:] or list(DOCUMENTS))
