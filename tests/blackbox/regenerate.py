"""Write what the black-box tests compare with anew: all of it, or the parts that are named.

    python tests/blackbox/regenerate.py [commands] [training] [jobs]

README.md says when this may be done.
"""

import sys
import tempfile
from pathlib import Path

from frozen_runs import (
    STUDIES,
    copy_workflow,
    machine,
    planned,
    run_session,
    store,
    train,
    trained_numbers,
)

PARTS = ("commands", "training", "jobs")


def main(parts):
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"{', '.join(unknown)}: unknown; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="blackbox-") as name:
        folder = Path(name)
        if "commands" in parts:
            found = run_session(folder)
            del found["exported"]  # compared with the calculator, not with stored numbers
            store("commands", found)
        tree = copy_workflow(folder / "workflow")
        if "jobs" in parts:
            store("jobs", {study: planned(tree, study) for study in STUDIES})
        if "training" in parts:
            store("training", {"made_on": machine(), **trained_numbers(train(tree))})


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
