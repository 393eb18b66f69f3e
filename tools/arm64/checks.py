"""Each promise of arm64 as one row of the summary; a failing one does not hide the next."""

from __future__ import annotations

import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.arm64.commands import Fault, say
from tools.arm64.compare import Check, Rows, compare_demos, compare_stills
from tools.arm64.plan import (
    BOARDS,
    COMPARED,
    DEMO_TRIES,
    LEFT_OUT,
    LIMIT_ALL_TESTS_S,
    LIMIT_TESTS_S,
    NOT_FOR_TESTS,
    PI_4,
    QUICK,
    Board,
)
from tools.arm64.sides import INSIDE, Side


def all_checks(x86: Side, arm: Side, inside: Path, *, everything: bool) -> list[Check]:
    """Every check in turn; `inside` is the tests' folder in the root, seen from the host."""
    expected = x86.judge()
    checks = [installed(x86, arm)]
    checks += [_caught(name, check) for name, check in _still_checks(arm, expected)]
    checks.append(_caught("demo", lambda: _demos(x86, arm, len(expected))))
    checks.append(_caught("edge tests", lambda: edge_tests(arm, inside, everything=everything)))
    return checks


def _caught(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Fault as fault:
        say(str(fault))
        return Check(name, False, str(fault).splitlines()[0])


def installed(x86: Side, arm: Side) -> Check:
    """What came as wheels, and whether both sides run the same."""
    there, here = arm.versions(), x86.versions()
    differing = [n for n in COMPARED if there[n] != here[n]]
    listed = ", ".join(f"{name} {there[name]}" for name in COMPARED)
    also = f"; other on x86: {', '.join(differing)}" if differing else ""
    finding = f"{len(there)} packages, none compiled; {listed}{also}"
    return Check("wheels only", not differing, finding)


def _still_checks(arm: Side, expected: Rows) -> Iterator[tuple[str, Callable[[], Check]]]:
    for board in BOARDS:
        name = f"stills, {board.name}"

        def check(board: Board = board, name: str = name) -> Check:
            say(f"judging every sample still on {board.cpu}")
            return compare_stills(name, expected, arm.judge(board=board))

        yield name, check


def _demos(x86: Side, arm: Side, pictures: int) -> Check:
    return compare_demos("demo", _decided(x86, pictures), _decided(arm, pictures))


def _decided(side: Side, pictures: int) -> Iterable[dict[str, Any]]:
    """A decision for every picture, from as few runs as it takes."""
    decided: dict[str, dict[str, Any]] = {}
    for _ in range(DEMO_TRIES):
        try:
            decided |= {row["picture"]: row for row in side.demo() if row["outcome"] != "late"}
        except Fault as fault:  # a busy machine under emulation may not even show a frame in time
            say(str(fault))
        if len(decided) >= pictures:
            break
        say(f"{pictures - len(decided)} decisions were not made within the deadline")
    return decided.values()


def edge_tests(arm: Side, inside: Path, *, everything: bool) -> Check:
    """The edge's own tests, against the installed wheel."""
    say("installing the test tools on arm64")
    arm.pip(*dev_tools((inside / "pyproject.toml").read_text(encoding="utf-8")))
    there = sorted(path.name for path in (inside / "tests").glob("test_*.py"))
    for name, reason in left_out(there, everything=everything).items():
        say(f"left out: {name}: {reason}")
    say(f"edge tests on {PI_4.cpu}")
    report = inside / "junit.xml"
    report.unlink(missing_ok=True)
    words = ["env", f"PYTHONPATH={INSIDE}", f"{arm.folder}/bin/python", "-m", "pytest"]
    words += ["-p", "no:cacheprovider", f"--junitxml={INSIDE}/junit.xml"]
    words += [f"--rootdir={INSIDE}", "-c", f"{INSIDE}/pyproject.toml"]
    words += ["-p", "tools.arm64.patience", "-m", "not slow and not trainer"]
    limit_s = LIMIT_ALL_TESTS_S if everything else LIMIT_TESTS_S
    try:
        words += selection(there, everything=everything)
        arm.execute(words, what="edge tests", limit_s=limit_s)
    except Fault as fault:
        if not report.exists():
            raise
        say(str(fault))
    return read_report(report)


def dev_tools(pyproject: str) -> list[str]:
    """What the extra `dev` asks for, less what no test needs."""
    wanted = tomllib.loads(pyproject)["project"]["optional-dependencies"]["dev"]
    return [line for line in wanted if not line.startswith(NOT_FOR_TESTS)]


def left_out(there: Sequence[str], *, everything: bool) -> dict[str, str]:
    """What does not run of the test files that are there, each with the reason."""
    named = {name: why for name, why in LEFT_OUT.items() if name.partition("::")[0] in there}
    if everything:
        return named
    late = [name for name in there if name not in LEFT_OUT and QUICK.get(name) != ()]
    why = {name: "all of it but " + ", ".join(QUICK[name]) for name in late if name in QUICK}
    return named | {name: f"{why.get(name, 'all of it')}: runs by --all" for name in late}


def selection(there: Sequence[str], *, everything: bool) -> list[str]:
    """pytest's arguments for the tests that run."""
    files = [name for name in there if name not in LEFT_OUT and (everything or name in QUICK)]
    words = [f"{INSIDE}/tests/{name}" for name in files]
    words += [f"--deselect=tests/{name}" for name in LEFT_OUT if "::" in name]
    return words if everything else [*words, "-k", " or ".join(map(_expression, files))]


def _expression(name: str) -> str:
    some = " or ".join(QUICK[name])
    return f"({name} and ({some}))" if some else name


def read_report(junit: Path) -> Check:
    """The counts of pytest's own report."""
    suites = ET.parse(junit).getroot().iter("testsuite")
    names = ("tests", "failures", "errors", "skipped")
    counts = {name: 0 for name in names}
    for suite in suites:
        for name in names:
            counts[name] += int(suite.get(name, 0))
    bad = counts["failures"] + counts["errors"]
    passed = counts["tests"] - bad - counts["skipped"]
    finding = f"{passed} passed, {bad} failed, {counts['skipped']} left out"
    return Check("edge tests", not bad and passed > 0, finding)
