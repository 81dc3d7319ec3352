"""Source files of the project and what they import, read without importing them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("vrt_core", "vrt_media", "vrt_jobs", "vs_plugin", "vrt_cli", "vrt_train", "vrt_nodes")
HOSTS = {"vapoursynth", "comfy", "comfy_api", "folder_paths", "nodes", "server"}
"""Modules of the programs that load the front ends."""


class Import(NamedTuple):
    """One imported module or name."""

    module: str
    """Absolute name of the module, also for relative imports."""
    name: str
    """Name imported from it; "" for ``import module``."""
    is_relative: bool
    place: str
    """File and line."""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def all_sources() -> list[Path]:
    return [path for folder in (*PACKAGES, "tests", "benchmarks", "demo") for path in sources(folder)]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file: at module level, inside functions, and for type checkers alone."""
    package = module_name(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield from (Import(alias.name, "", False, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            base = package[: len(package) - node.level + 1] if node.level else []
            assert not node.level or base, f"{place} imports from outside its package"
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield from (Import(module, alias.name, node.level > 0, place) for alias in node.names)


def imports_of(package: str) -> Iterator[Import]:
    for path in sources(package):
        yield from imports(path)


def import_graph(package: str) -> dict[str, set[str]]:
    """For each module of a package, the modules of the same package that it imports."""
    modules = {module_name(path): path for path in sources(package)}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = set()
        for item in imports(path):
            full = f"{item.module}.{item.name}"
            targets.add(full if full in modules else item.module)
        graph[name] = {target for target in targets if target in modules} - {name}
    return graph


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one import cycle, or nothing."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph[node]):
            if cycle := visit(target, [*path, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), [])
