# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adds up the JUnit files of several test runners.

    summarize_tests.py RUNNER=FILE:EXIT_STATUS ...

Prints why tests were skipped and which failed, and as its last line
`N passed, N failed, N skipped`. A runner that left no readable file, ran no
test at all, or failed without saying where, counts as one failed test. The
exit status is 1 when a test failed or when none ran.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    skips: Counter[str] = field(default_factory=Counter)


def case_name(case: ElementTree.Element) -> str:
    parts = (case.get("classname", ""), case.get("name", ""))
    return ".".join(dict.fromkeys(part for part in parts if part))


def has_failed(case: ElementTree.Element) -> bool:
    if case.find("failure") is not None or case.find("error") is not None:
        return True
    # ctest says "notrun" of a skipped test, but also of one that it could not
    # start.
    skipped = case.find("skipped")
    by_request = skipped is not None and skipped.get("message", "").startswith("SKIP_")
    return case.get("status") == "fail" or (
        case.get("status") == "notrun" and not by_request
    )


def skip_reason(case: ElementTree.Element) -> str | None:
    """Why the test was skipped, in the runner's words; None if it was not."""
    skipped = case.find("skipped")
    if case.get("status") == "disabled":
        return "disabled"
    # A test that fails as expected has passed.
    if skipped is None or skipped.get("type") == "pytest.xfail":
        return None
    message = (skipped.get("message") or "").strip()
    if not message.startswith("SKIP_"):
        return message or "no reason given"
    # ctest only says that an expression matched; GoogleTest's own words are in
    # the output, on the line after the file and line of GTEST_SKIP.
    lines = (case.findtext("system-out") or "").splitlines()
    for line, following in zip(lines, lines[1:]):
        if line.rstrip().endswith(": Skipped"):
            return following.strip() or "no reason given"
    return "no reason given"


def read_report(runner: str, path: str, exit_status: int) -> Report:
    report = Report()
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        report.failures.append(f"{runner}: no readable results: {error}")
        return report
    for case in cases:
        if has_failed(case):
            report.failures.append(f"{runner}: {case_name(case)}")
        elif reason := skip_reason(case):
            report.skips[f"{runner}: {reason}"] += 1
        else:
            report.passed += 1
    if not cases:
        report.failures.append(f"{runner}: ran no test")
    elif exit_status != 0 and not report.failures:
        report.failures.append(f"{runner}: exit status {exit_status}")
    return report


def main(arguments: list[str]) -> int:
    total = Report()
    for argument in arguments:
        runner, _, rest = argument.partition("=")
        path, _, exit_status = rest.rpartition(":")
        report = read_report(runner, path, int(exit_status))
        total.passed += report.passed
        total.failures += report.failures
        total.skips += report.skips

    print("== summary")
    for reason, count in sorted(total.skips.items()):
        print(f"skipped {count}: {reason}")
    for failure in total.failures:
        print(f"failed: {failure}")
    print(
        f"{total.passed} passed, {len(total.failures)} failed, "
        f"{total.skips.total()} skipped"
    )
    return 1 if total.failures or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
