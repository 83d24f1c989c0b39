"""Who is measured when: in turns, round by round."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from . import _inprocess, _report
from ._client import Result, RunError
from ._scenarios import FULL, QUICK, Case, Scenario, scenarios
from ._server import Server, run_server

# Only of use where it is the server: it is hypercorn on trio, plus deadlines for writing.
OWN_SERVER = "trio_sse.serve"

# What does not run: on granian the stream of that example ends before its first event.
NOT_THERE = {("granian", Case("sse_starlette", "broadcast"))}

Measure = Callable[[], Result]


class Runner:
    """Takes the measurements, in turns, and writes each down as soon as it is there.

    Args:
        arguments: Those of the command.
        stack: Where servers live that are used again.
    """

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments = arguments
        self._stack = stack
        self._servers: dict[tuple[str, str, str], Server] = {}
        self._file = stack.enter_context(arguments.output.open("w"))
        self._log = stack.enter_context(arguments.output.with_suffix(".log").open("w"))
        self.failures = 0

    def run(self) -> None:
        """Run everything that was asked for."""
        arguments = self._arguments
        for scenario in scenarios(QUICK if arguments.quick else FULL):
            if self._is_chosen(scenario.name):
                for setting in arguments.gc:
                    for server in arguments.servers:
                        self._run_on_server(scenario, server, setting)
        for scenario in _inprocess.SCENARIOS:
            if self._is_chosen(scenario.name):
                self._run_in_process(scenario)
        if not self._file.tell():
            sys.exit("nothing is called so; README.md has the names")

    def _is_chosen(self, name: str) -> bool:
        return not self._arguments.names or name.startswith(tuple(self._arguments.names))

    def _run_on_server(self, scenario: Scenario, server: str, setting: str) -> None:
        cases = [
            case
            for case in scenario.cases
            if case.library in self._arguments.libraries
            and (server != OWN_SERVER or case.library == "trio_sse")
            and (server, case) not in NOT_THERE
        ]
        about = {
            "scenario": scenario.name,
            "title": scenario.title,
            "figures": scenario.figures,
            "server": server,
            "gc": setting,
        }
        measures: dict[Case, Measure] = {
            case: partial(
                scenario.run,
                partial(self._open_server, server, case.library, setting),
                case,
            )
            for case in cases
        }
        self._take_turns(about, measures)

    def _run_in_process(self, scenario: _inprocess.Scenario) -> None:
        part = 50 if self._arguments.quick else 1
        about = {
            "scenario": scenario.name,
            "title": scenario.title,
            "figures": scenario.figures,
            "server": "",
            "gc": "default",
        }
        measures: dict[Case, Measure] = {
            Case(library): partial(_inprocess.run, scenario.name, library, part)
            for library in scenario.libraries
        }
        self._take_turns(about, measures)

    def _take_turns(self, about: Result, measures: dict[Case, Measure]) -> None:
        """Measure each case once in each round, so that whatever else happens meets all alike."""
        for number in range(self._arguments.rounds):
            for case, measure in measures.items():
                try:
                    result = measure()
                except RunError as error:
                    self.failures += 1
                    self._servers.clear()  # after that, nobody knows what they do
                    result = {"error": str(error)}
                place = {"library": case.library, "variant": case.variant, "round": number}
                self._file.write(json.dumps({**about, **place, **result}) + "\n")
                self._file.flush()
                shown = {
                    key: _report.number(value) for key, value in result.items() if key != "error"
                }
                print(
                    about["scenario"],
                    about["server"],
                    about["gc"],
                    *place.values(),
                    shown or result,
                    flush=True,
                )

    def _open_server(self, *which: str) -> AbstractContextManager[Server]:
        server, library, setting = which
        opened = run_server(server, library, setting, self._arguments.server_core, self._log)
        return self._keep(which, opened) if self._arguments.quick else opened

    @contextmanager
    def _keep(
        self, which: tuple[str, ...], opened: AbstractContextManager[Server]
    ) -> Iterator[Server]:
        """Use the server of before, if it is still there: starting is what takes time."""
        kept = self._servers.get(which)
        if kept is None or kept.process.poll() is not None:
            kept = self._servers[which] = self._stack.enter_context(opened)
        yield kept
