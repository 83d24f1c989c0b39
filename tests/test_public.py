"""What is public, and how it presents itself."""

import inspect
import pickle
import subprocess
import sys

import pytest

import trio_sse
import trio_sse.testing

MODULES = [trio_sse, trio_sse.testing]
EXPORTS = [
    pytest.param(module, name, id=f"{module.__name__}.{name}")
    for module in MODULES
    for name in module.__all__
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_complete(module):
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert module.__all__ == sorted(public)


@pytest.mark.parametrize(("module", "name"), EXPORTS)
def test_exported_objects_say_that_they_belong_to_the_package(module, name):
    exported = getattr(module, name)
    assert exported.__module__ == module.__name__
    assert inspect.getdoc(exported)


@pytest.mark.parametrize(("module", "name"), EXPORTS)
def test_public_methods_are_documented(module, name):
    exported = getattr(module, name)
    for attribute, value in vars(exported).items() if inspect.isclass(exported) else ():
        if inspect.isfunction(value) and not attribute.startswith("_"):
            assert value.__doc__, attribute


def test_a_close_reason_can_be_pickled_by_its_public_name():
    reason = trio_sse.CloseReason.SHUTDOWN
    assert pickle.loads(pickle.dumps(reason)) is reason
    assert b"trio_sse\n" in pickle.dumps(reason, protocol=0)


def test_importing_the_package_imports_no_server_no_client_and_no_store():
    code = (
        "import sys, trio_sse;"
        "print(sorted({'hypercorn', 'uvicorn', 'granian', 'httpx', 'h11', 'fastapi', 'coredis'}"
        " & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_package_is_typed():
    from importlib.resources import files

    assert files("trio_sse").joinpath("py.typed").is_file()
