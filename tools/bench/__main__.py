"""Everything side by side in one run: prints the tables and writes them.

python -m tools.bench [--data DIR --masks DIR --names FILE] [--lite0 WORDS=BEST.PT] [--quick]

Without --data there is no accuracy. Set U2NET_HOME to the folder of u2netp.onnx for the rows with
rembg. A machine that does something else meanwhile shows in the spread.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from edge.pictures import list_pictures, read_picture
from edge.preprocess import squeeze
from edge.shipped import samples
from tools.bench import growth, targets
from tools.bench.child import edge_import_ms
from tools.bench.document import Findings, as_markdown
from tools.bench.limits import limits
from tools.bench.measure import measure
from tools.bench.path import on_one_core, whole_path
from tools.bench.picture import draw
from tools.bench.score import SPEC, Exam, exam

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
CALIBRATION = 64
QUICK_DEPTHS, QUICK_RATES = (0, 1_000), (20,)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    given = _parser().parse_args(arguments)
    typed = sys.argv[1:] if arguments is None else arguments
    found = run(given, "python -m tools.bench " + shlex.join(_public(typed)))
    text = as_markdown(found)
    print(text)
    if given.out:
        given.out.write_text(placed(given.out, text), encoding="utf-8")
    if given.picture:
        draw(found.networks, given.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="one folder per class")
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--names", type=Path, help="the pictures to score, one name a line")
    parser.add_argument(
        "--lite0",
        action="append",
        default=[],
        help="WORDS=BEST.PT of a whole Lite0 that smartbin-train made; repeatable",
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="what is converted")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that all runs")
    parser.add_argument("--cpus", default="0", help="of the daemon, as taskset takes them")
    parser.add_argument("--out", type=Path, help="a Markdown file to put the tables into")
    parser.add_argument("--picture", type=Path, help="a .png of accuracy against latency")
    return parser


def _public(typed: list[str]) -> list[str]:
    """File names without the folders of this machine."""
    found = []
    for word in typed:
        words, sign, path = word.rpartition("=")
        found.append(f"{words}{sign}{Path(path).name}" if "/" in path else word)
    return found


def run(given: argparse.Namespace, command: str) -> Findings:
    """Measure all of it, in the order in which a noisy minute does least harm."""
    from tools.bench.nets import Workshop, calibration_of  # needs torch

    rounds = 10 if given.quick else given.rounds
    squares = [squeeze(read_picture(path), SPEC) for path in list_pictures(samples() / "stills")]
    asked = _exam(given)
    workshop = Workshop(given.work, calibration_of(_calibration(given) or squares), say)
    contenders = workshop.contenders(dict(_named(word) for word in given.lite0))
    processes = 1 if given.quick else 5
    networks = measure(contenders, squares, asked, rounds=rounds, processes=processes, say=say)
    say("limits of this core")
    core = limits(rounds)
    say("whole path")
    plain = [c.path for c in contenders if c.name.startswith(targets.LITE0)]
    fp32 = next((path for path in plain if path.name.endswith(".fp32.onnx")), None)
    half = max(10, rounds // 2)  # each call rests first
    one_core, paths = on_one_core(half, fp32), whole_path(half, fp32)
    say("growth")
    sizes = growth.by_size(rounds)
    depths = growth.by_depth(rounds, QUICK_DEPTHS if given.quick else growth.DEPTHS)
    seconds, asked_rates = (2, QUICK_RATES) if given.quick else (10, growth.RATES)
    rates = growth.by_rate(seconds, asked_rates, cpus=given.cpus)
    full = growth.by_rate(seconds, asked_rates[-1:], cpus=given.cpus, segmenter="tiny")
    import_ms = edge_import_ms(3 if given.quick else 15)
    best = max(rates, key=lambda rate: rate.decided)
    told = [
        *targets.network_targets(networks, core),
        *targets.path_targets(one_core, "one core"),
        *targets.path_targets(paths, f"{os.cpu_count()} cores"),
        targets.rate_target(best.decided, best.cores),
        targets.import_target(import_ms[1]),
        targets.squeeze_target(next(s for s in sizes if s.size == (1280, 720)).squeeze.p50),
    ]
    pictures = _words(asked)
    return Findings(
        networks=networks,
        limits=core,
        paths=paths,
        one_core=one_core,
        sizes=sizes,
        rates=[*rates, *full],
        depths=depths,
        import_ms=import_ms,
        targets=told,
        command=command,
        pictures=pictures,
    )


def _exam(given: argparse.Namespace) -> Exam | None:
    if given.data is None:
        return None
    from trainer.data import scan

    say("pictures")
    return exam(scan(given.data, given.names), given.masks)


def _calibration(given: argparse.Namespace) -> list[object]:
    """Pictures that are not scored, spread over the classes."""
    if given.data is None or given.names is None:
        return []
    from trainer.data import scan

    scored = set(scan(given.data, given.names).paths)
    rest = [path for path in scan(given.data).paths if path not in scored]
    return [squeeze(read_picture(path), SPEC) for path in rest[:: max(1, len(rest) // CALIBRATION)]]


def _named(word: str) -> tuple[str, Path]:
    words, _, path = word.rpartition("=")
    return words or "ours", Path(path)


def _words(asked: Exam | None) -> str:
    if asked is None:
        return "not measured, no --data."
    text = f"{len(asked.truth)} pictures of the list given"
    if asked.swapped:
        text += f"; gap: {len(asked.swapped_truth)} of them with a good mask, original minus worst"
    return text + "."


def placed(path: Path, text: str) -> str:
    """The file with what lies between the marks replaced; a new one where there is none."""
    if not path.exists():
        return f"# Benchmarks\n\n{BEGIN}\n{text}\n{END}\n"
    old = path.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def say(text: str) -> None:
    """Progress, to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
