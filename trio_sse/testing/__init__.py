"""What tests of programs and engines can be built on."""

from ._engine_suite import EngineSuite as EngineSuite

__all__ = ["EngineSuite"]

for _name in __all__:
    vars()[_name].__module__ = __name__
