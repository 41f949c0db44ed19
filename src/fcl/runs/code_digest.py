"""A digest of the code that determines a result, for Snakemake's parameters.

Snakemake tracks the script of a rule but not what the script imports. :func:`source_digest` hashes the source of an
entry point and of every ``fcl`` module reachable from it, found by static analysis (nothing is imported, so no torch).
An edit then reruns the stages that use the edited module and no others; comments and docstrings do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "fcl"
ROOT = Path(__file__).resolve().parents[1]
# These check settings, describe a run, show progress or move files; no number in a result depends on their code.
# They affect results only through the settings, which are parameters of the rules as well.
NEUTRAL = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "config.checks",
        "config.docs",
        "config.errors",
        "config.load",
        "config.sections",
        "config.sharing",
        "config.study",
        "config.types",
        "data.download",
        "data.manifest",
        "models.pretrained",
        "runs.code_digest",
        "runs.gpu_lock",
        "runs.log",
        "runs.manifest",
        "study.adapter",
        "study.subsets",
        "training.checkpoints",
        "training.monitor",
    )
)


def source_digest(*entry_points: str, root: Path = ROOT) -> str:
    """SHA-256 (hex) of the code reachable from ``entry_points``; arguments and errors as for :func:`sources`."""
    parts = sources(*entry_points, root=root)
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{name}\n{parts[name]}\n".encode())
    return digest.hexdigest()


def sources(*entry_points: str, root: Path = ROOT, without: frozenset[str] = NEUTRAL) -> dict[str, str]:
    """The code reachable from ``entry_points``, by entry point and module, without comments and docstrings.

    Args:
        entry_points: ``package.module`` (the whole module) or ``package.module:function`` (that function,
            the parts of its own module that it uses, and the modules that these import).
        root: folder of the package; for tests.
        without: modules to leave out, along with those that only they import.

    Raises:
        FileNotFoundError: a module named here does not exist.
        ValueError: the module has no such function.
    """
    parts: dict[str, str] = {}
    pending: list[str] = []
    for entry in entry_points:
        module, _, function = entry.partition(":")
        source, imported = _function(module, function, root) if function else _module(module, root)
        parts[entry] = source
        pending += imported
    while pending:
        module = pending.pop()
        if module not in parts and module not in without:
            parts[module], imported = _module(module, root)
            pending += imported
    return parts


def _path(module: str, root: Path) -> Path | None:
    """Source file of ``module``, or None if there is none or for the package itself, whose code is irrelevant."""
    base = root.joinpath(*module.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py") if module != PACKAGE else ()
    return next((path for path in candidates if path.is_file()), None)


def _require(module: str, root: Path) -> Path:
    path = _path(module, root)
    if path is None:
        raise FileNotFoundError(f"{module}: no such module below {root.name}/, but a rule of the workflow names it")
    return path


def _module(module: str, root: Path) -> tuple[str, tuple[str, ...]]:
    path = _require(module, root)
    files = [path, *filter(Path.is_file, [path.with_suffix(".cpp")])]  # and the program that it builds
    return _read_module(module, tuple(files), max(file.stat().st_mtime_ns for file in files))


@functools.cache
def _read_module(module: str, files: tuple[Path, ...], _mtime: int) -> tuple[str, tuple[str, ...]]:
    tree = _parse(files[0])
    programs = (repr(file.read_text(encoding="utf-8")) for file in files[1:])  # still Python
    return "\n".join((ast.unparse(tree), *programs)), tuple(_imports(tree, module, files[0]))


def _function(module: str, function: str, root: Path) -> tuple[str, list[str]]:
    """Source of ``function`` and of the parts of its module that it uses, and the modules that these import."""
    path = _require(module, root)
    tree = _parse(path)
    defined: dict[str, ast.stmt] = {}
    for statement in tree.body:
        defined.update(dict.fromkeys(_names_bound(statement), statement))
    if function not in defined:
        raise ValueError(f"{module}: has no function {function!r}, but a rule of the workflow names it")
    used: list[ast.stmt] = []
    pending = [function]
    while pending:
        statement = defined.pop(pending.pop(), None)
        if statement is not None and statement not in used:
            used.append(statement)
            pending += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    used.sort(key=lambda statement: statement.lineno)
    imported = [name for statement in used for name in _imports(statement, module, path)]
    return "\n".join(ast.unparse(statement) for statement in used), imported


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    """Names defined by a top-level statement of a module; a block (``if TYPE_CHECKING:``) counts as a whole."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return  # names defined inside are not names of the module


def _imports(tree: ast.AST, module: str, path: Path) -> Iterator[str]:
    """Modules of the package imported anywhere in ``tree``, including inside functions."""
    root = path.parents[len(module.split(".")) - (1 if path.name == "__init__.py" else 2)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: one level up per dot; a package's __init__ is its own parent
                above = module.split(".")
                above = above[: len(above) - node.level + (path.name == "__init__.py")]
                base = ".".join([*above, base] if base else above)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith(f"{PACKAGE}.") and _path(name, root) is not None:
                yield name


def _parse(path: Path) -> ast.Module:
    """The code of a file without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    node.body[0] = ast.copy_location(ast.Pass(), first)
    return tree
