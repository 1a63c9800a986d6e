"""A plugin of pytest that lets coverage measure branches at next to no cost on Python 3.12 and 3.13.

Coverage has its tracer called for each line that any module runs, which takes as long as the tests do. Python
3.12 brought events that are turned off for good once they have told what they can. Coverage uses them for
branches from 3.14 on only: before, both ways of a branch share one event. Here that event is turned off when
it has told of both. On other Pythons coverage measures in its own way, with the same result.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

FITS = (3, 12) <= sys.version_info < (3, 14)

if FITS:
    import dis

    from coverage import bytecode, control, core
    from coverage.bytecode import bytes_to_lines
    from coverage.disposition import FileDisposition
    from coverage.sysmon import CodeInfo, SysMonitor

    monitoring: Any = getattr(sys, "monitoring", None)  # which is not there on Python 3.10
    events, DISABLE = monitoring.events, monitoring.DISABLE

    class BranchMonitor(SysMonitor):
        """Coverage's own monitor, with the branch event of these versions."""

        def __init__(self) -> None:
            super().__init__()
            self._first_ways: dict[tuple[int, int], int] = {}

        def start(self) -> None:
            super().start()
            monitoring.register_callback(self.myid, events.BRANCH, self._on_branch)

        def _on_branch(self, code: CodeType, offset: int, destination: int) -> Any:
            place = (id(code), offset)
            first = self._first_ways.setdefault(place, destination)
            self.sysmon_branch_either(code, offset, destination)
            return None if first == destination else DISABLE

        def sysmon_py_start(self, code: CodeType, instruction_offset: int) -> Any:
            self._activity = True
            if id(code) in self.code_infos:
                return DISABLE
            disposition = self.should_trace_cache.get(code.co_filename)
            if disposition is None:
                disposition = self.should_trace(code.co_filename, sys._getframe(1))
                self.should_trace_cache[code.co_filename] = disposition
            info = CodeInfo(
                tracing=disposition.trace, file_data=None, byte_to_line=None, branch_resolver=None
            )
            if disposition.trace:
                self.lock_data()
                try:
                    info.file_data = self.data.setdefault(str(disposition.source_filename), set())
                finally:
                    self.unlock_data()
                info.byte_to_line = bytes_to_lines(code)
            self.code_infos[id(code)] = info
            self.code_objects.append(code)  # so that no other gets its id
            if disposition.trace:
                with self.lock:
                    if self.sysmon_on:
                        wanted = events.LINE | events.PY_RETURN | events.BRANCH
                        monitoring.set_local_events(self.myid, code, wanted)
            return DISABLE

    class QuickCore(core.Core):
        """What coverage takes for its own choice of a tracer."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if options["config"].branch and self.tracer_class is not SysMonitor:
                self.tracer_class = BranchMonitor
                self.file_disposition_class = FileDisposition
                self.supports_plugins = self.supports_dynamic_contexts = False
                self.packed_arcs = self.systrace = False

    if "RETURN_CONST" in dis.opmap:  # which 3.14 no longer has
        bytecode.RETURNS.add(dis.opmap["RETURN_CONST"])
    control.Core = QuickCore  # type: ignore[attr-defined]
