"""The import graph: layers that import downwards only, and a fence for what is foreign.

Imports inside of functions and for types alone count like any other.
"""

import ast
from pathlib import Path

import pytest

import trio_sse

PACKAGE = Path(trio_sse.__file__).parent

# From the ground up. A module imports from layers below its own, and within a
# package (a folder) from its siblings.
LAYERS = [
    {"_exceptions", "_fields", "_close_reason", "_arguments", "_json"},
    {"_event", "_backoff"},
    {"_decoder", "_history"},
    {"_abc"},
    {"_runtime"},
    {"_shared_task"},
    {"_instrument", "_memory", "_outbox"},
    {"_feed"},
    {"_cursor"},
    {"_subscription"},
    {"_options", "_source", "_drain", "_transport", "_limit", "_last_event_id", "_fastapi"},
    {"_writer", "_outcome"},
    {"_ping"},
    {"_supervisor", "_signals", "_hub"},
    {"_response", "_middleware"},
    {""},  # the package itself
    # Edges, which the package does not import.
    {"hypercorn", "redis", "client", "testing", "compat", "openapi", "opentelemetry"},
    {"_command", "demo"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

FOREIGN = {
    "trio": {"_runtime", "hypercorn", "testing", "_command", "demo"},
    # Beside the seam, RunVar alone; but what tests are written with is what they are: anyio.
    "anyio": {"_runtime", "_drain", "_ping", "_source", "_transport", "testing"},
    "asyncio": {"_runtime", "testing"},
    "starlette": {"_response", "compat", "demo"},
    "hypercorn": {"hypercorn", "demo"},
    "coredis": {"redis"},
    "opentelemetry": {"opentelemetry"},
    # For types alone.
    "httpx": {"testing"},
    "httpx2": {"testing"},
}
SERVERS = {"uvicorn", "granian", "daphne"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The name that the layers know a file by: its module, or its folder."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix("__init__")


def imports(path: Path):
    """Yield (level, module, names) for each import statement."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, []


def inner_imports(path: Path):
    depth = len(path.relative_to(PACKAGE).parts)
    for level, module, names in imports(path):
        assert not module.startswith("trio_sse"), "imports within the package are relative"
        if level != depth:
            continue
        if module:
            yield module.split(".")[0]
        else:  # of the package itself, or what it exports
            yield from ("" if name in trio_sse.__all__ else name for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_layers_below_its_own(path):
    own = LEVEL[part(path)]
    for imported in inner_imports(path):
        assert LEVEL[imported] < own, f"{part(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_seam_and_the_surface_know_foreign_packages(path):
    for level, module, names in imports(path):
        top = module.split(".")[0]
        if level == 0:
            assert top not in SERVERS
            assert part(path) in FOREIGN.get(top, {part(path)}), f"{part(path)} imports {top}"
        if top == "anyio" and part(path) not in ("_runtime", "testing"):
            assert (module, names) == ("anyio.lowlevel", ["RunVar"])


def test_the_demo_uses_what_is_public_alone():
    for path in (PACKAGE / "demo").glob("*.py"):
        assert not [name for name in inner_imports(path) if name.startswith("_")], path


def test_every_layer_exists():
    assert {part(path) for path in MODULES} == set(LEVEL)


def test_modules_and_functions_stay_small():
    lengths = []
    for path in MODULES:
        source = path.read_text()
        assert source.count("\n") <= 400, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node, clean=False) or ""
                lengths.append((node.end_lineno or 0) - node.lineno + 1 - doc.count("\n"))
    assert sum(length < 30 for length in lengths) / len(lengths) > 0.9
