"""Where the files of a workflow are when it runs in another directory, or as a module of another workflow.

Its own files are in its folder, results in the working directory, and the files of a user beside his configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fcl.study.records.record import RECORDS, PathLike, numbers_root


class Places:
    """``root`` is the folder of the workflow, ``configurations`` are the configuration files in use.

    All paths returned are relative if they are below the working directory, so that results do not depend on its place.
    """

    def __init__(self, root: PathLike, configurations: Iterable[PathLike] = ()):
        self.root = Path(root)
        self._beside = dict.fromkeys([Path(file).absolute().parent for file in configurations] + [self.root.absolute()])

    def own(self, path: str) -> str:
        """A file of the workflow itself."""
        return _shown(self.root / path)

    def manifest(self, path: str) -> str:
        """The data manifest ``path`` of a configuration: in the working directory or beside a configuration file.

        Raises `FileNotFoundError` if there is none, and `ValueError` if there are several.
        """
        places = [Path.cwd(), *self._beside]
        found = {file.resolve(): file for place in reversed(places) if (file := place / path).is_file()}
        if not found:
            tried = ", ".join(dict.fromkeys(map(str, places)))
            raise FileNotFoundError(f"{path}: no such file in {tried}")
        if len(found) > 1:
            raise ValueError(f"{path}: is ambiguous: {', '.join(map(str, found.values()))}; give an absolute path")
        return _shown(*found.values())

    def resolved(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the configuration with the places of its data manifests, for another program; missing ones stay."""

        def section(settings: Mapping[str, Any]) -> dict[str, Any]:
            try:
                data = settings["data"]
                return {**settings, "data": {**data, "manifest": self.manifest(data["manifest"])}}
            except (KeyError, FileNotFoundError):
                return dict(settings)

        studies = {name: section(settings) for name, settings in config["studies"].items()}
        return {**config, "protocol": section(config["protocol"]), "studies": studies}

    def record(self) -> str:
        """The folder of the records: that of the working directory if there is one, else that of the workflow."""
        return RECORDS if Path(RECORDS).is_dir() else self.own(RECORDS)

    def numbers(self, from_record: bool) -> str:
        """Root folder of the numbers used for figures, tables, claims and the report."""
        return self.record() if from_record else numbers_root(False)


def _shown(path: Path) -> str:
    path, here = path.absolute(), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
