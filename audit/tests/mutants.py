"""Mutation testing of the verifying half, and of what holds a determination back (``make mutants``): one
small change at a time, which some test must notice.

It parses a module, changes one operator, constant, comparison, condition, call or return, and runs the tests
that hold the module against a copy of the package, in a fork that has the libraries loaded already. A mutant
that no test notices is printed with its line. Those that cannot be noticed (a faster path to the same answer,
a bound that nothing reaches) are listed below, each with its reason; they are run all the same, and one that
a test does notice is not excused but named as a needless excuse. ``--sample N`` takes every k-th, for a quick
look; ``--write`` keeps what was found in ``mutants.json``, each module with its date and the digest it was
found for, and says it on the pages; ``--changed`` runs the modules whose digest is another since.

After each module's mutants it runs the module as it is: a test that fails then has noticed nothing before.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

BAR = 95.0  # per cent of all mutants, excused or not
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "audit" / "umbridge_audit"
FOUND = ROOT / "audit" / "tests" / "mutants.json"
PAGES = (ROOT / "README.md", ROOT / "audit" / "README.md")
MODULES = ("entry", "slots", "tree", "checkpoint", "resume", "verify", "abnormal", "grounds", "unreadhold")
#: Of the daemon: what keeps an answer open that rests on no finding, or on a value that nobody can read.
JUDGING = ROOT / "umbridge"
MCG = "../plugins/mcg_like/tests/test_criteria.py"  # code of its own, that asks the rooms itself
IN_JUDGING = ("abnormal", "grounds", "unreadhold")
JUDGING_TESTS = ("test_grounds.py", "test_usual.py", "test_unreadhold.py", "test_abnormal.py", MCG)
TESTS = (
    "test_entry.py",
    "test_slots.py",
    "test_tree.py",
    "test_checkpoint.py",
    "test_parsers.py",
    "test_vectors.py",
    "test_cosign.py",
    "test_proof.py",
    "test_fast_check.py",
    "test_verify.py",
    "test_resume.py",
    "test_attacks.py",
    "test_store.py",
    "test_signer.py",
    "test_handover.py",
    "test_attack_table.py",
    "test_any_byte.py",
)
# What holds a module most closely is run first, by itself; then all the others.
FIRST = {
    "entry": ("test_entry.py", "test_vectors.py"),
    "slots": ("test_vectors.py", "test_parsers.py", "test_slots.py"),
    "tree": ("test_tree.py", "test_proof.py"),
    "checkpoint": ("test_checkpoint.py", "test_cosign.py", "test_parsers.py"),
    "resume": ("test_resume.py",),
    "verify": ("test_verify.py", "test_resume.py"),
    "abnormal": ("test_grounds.py",),
    "grounds": ("test_grounds.py", "test_usual.py"),
    "unreadhold": ("test_unreadhold.py",),
}
# Several processes check what one checks, and cost as much as everything else together. Fewer tests can only
# let more mutants live.
LEFT_OUT = (
    "_give_one_answer[2-", "verifies_old_and_new[2-", "test_negative_control[2-", "test_many_pages",
    "test_xaes_accumulated", "A41 the clock set back",
)  # fmt: skip
EXAMPLES = 40  # of a property, at most
CPU_SECONDS = 20  # beyond three times what the tests need without a mutant: it runs in circles
WALL_SECONDS = 900  # and this is for one that waits for ever
TEST_CPU_SECONDS = 4  # the same for one test, beyond five times what it needs
MEMORY = 1 << 30
LIBRARIES = (
    "pytest", "hypothesis.strategies", "hypothesis.internal.conjecture.engine", "pymerkle", "rfc8785",
    "sqlmodel", "sqlalchemy.dialects.sqlite", "sqlite3", "click.testing", "http.server",
    "multiprocessing.pool", "concurrent.futures.process",
    "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.argon2",
)  # fmt: skip
COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.Mod: ast.Add,
}

# (module, beginning of the line, the change or "" for any on that line, why no test can notice)
EQUAL: tuple[tuple[str, str, str, str], ...] = (
    ("entry", "if value is False:", "not False", "the library's encoder writes it the same"),
    (
        "entry",
        'text = "".join(_PIECES(value, 0))',
        "IsNot to Is",
        "the library's other encoder writes the same",
    ),
    (
        "entry",
        'text = "".join(_PIECES(value, 0))',
        "0 to 1",
        "a level that nobody asks for without indentation",
    ),
    ("entry", "_PIECES = ", "Is to IsNot", "the library's other encoder writes the same"),
    ("entry", "_PIECES = ", "not False", "no float and no key but text comes this far"),
    ("slots", "elif kind is int and 0 <= value <= MAX_INT:", "0 to 1", "the way round gives the same text"),
    ("slots", "elif kind is int and 0 <= value <= MAX_INT:", "LtE to Lt", "the same"),
    ("slots", 'encoded = b2a_base64(b"\\0".join(cut.unpack', "longer bytes", "the last bytes are cut off"),
    ("slots", 'encoded = b2a_base64(b"\\0".join(cut.unpack', "not False", "the line's end is cut off"),
    ("slots", "encoded = b2a_base64(spaced, newline=False)", "not False", "the same"),
    ("slots", 'spaced = b"\\0".join(self._cut.unpack', "longer bytes", "the last bytes are cut off"),
    (
        "slots",
        "stream = shake_256(b",
        "32 to 33",
        "more bytes than are read, the same before them",
    ),
    ("checkpoint", "raw = b64decode(encoded, validate=True)", "not True", "compared with its own text below"),
    ("checkpoint", "root = b64decode(lines[2], validate=True)", "not True", "the same"),
    ("tree", "inside = (size & -size)", "BitAnd to BitOr", "minus the lowest bit: a bit length has no sign"),
    ("verify", "kid == made and seq < at for", "Lt to LtE", "a key's entry has no part that could use it"),
    ("verify", "wanted = [n for n in", "Gt to GtE", "what is due is beyond the tree: at its size it was met"),
    ("verify", "if len(self._known) > 4:", "", "how much is remembered, not what is said"),
    ("verify", "if not exact and note in self._known:", "no not", "the note is read once more, the same"),
    ("verify", "if exact:", "if not", "the same"),
    ("abnormal", "_WHEN = datetime(", "", "an ordinary value has no time that a rule reads"),
    ("abnormal", "_KEPT = 256", "", "how much is remembered, not what is said"),
    ("grounds", "is_ill: bool = False", "", "a later review has no use for it, and a first look says which"),
    ("grounds", "is_comfort: bool = False", "", "the same"),
    ("grounds", "points += (truths.counted", "0 to 1", "what adds points is known, and more than none"),
)


def path_of(module: str) -> Path:
    return (JUDGING / "criteria" if module in IN_JUDGING else PACKAGE) / f"{module}.py"


def tests_of(module: str, names: tuple[str, ...] = ()) -> list[str]:
    """The tests that hold a module; with names, those of them."""
    is_judging = module in IN_JUDGING
    folder = ROOT / "tests" if is_judging else ROOT / "audit" / "tests"
    return [str(folder / name) for name in names or (JUDGING_TESTS if is_judging else TESTS)]


@dataclass(frozen=True, slots=True)
class Mutant:
    module: str
    number: int
    line: int
    text: str  # of the line
    change: str

    @property
    def source(self) -> str:
        """The whole changed module; the module as it is for a number below zero."""
        whole = path_of(self.module).read_text()
        if self.number < 0:
            return whole
        return ast.unparse(ast.fix_missing_locations(Mutator(self.number).visit(ast.parse(whole))))

    @property
    def name(self) -> str:
        return f"{self.number}, line {self.line}, {self.change}: {self.text}"

    def __str__(self) -> str:
        return f"{self.module}.py {self.name}"

    @property
    def excuse(self) -> str | None:
        for module, start, change, why in EQUAL:
            if self.module == module and self.text.startswith(start) and change in ("", self.change):
                return why
        return None


class Mutator(ast.NodeTransformer):
    """Counts every place that can be changed; changes the one that is asked for."""

    def __init__(self, wanted: int) -> None:
        self.count = 0
        self.wanted = wanted
        self.places: list[tuple[int, str]] = []  # line and change of each

    def _hit(self, node: ast.expr | ast.stmt, change: str) -> bool:
        self.count += 1
        self.places.append((node.lineno, change))
        return self.count - 1 == self.wanted

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for at, op in enumerate(node.ops):
            new = COMPARE.get(type(op))
            if new is not None and self._hit(node, f"{type(op).__name__} to {new.__name__}"):
                node.ops[at] = new()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        new = BINARY.get(type(node.op))
        if new is not None and not text and self._hit(node, f"{type(node.op).__name__} to {new.__name__}"):
            node.op = new()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        new = ast.And if isinstance(node.op, ast.Or) else ast.Or
        if self._hit(node, f"{type(node.op).__name__} to {new.__name__}"):
            node.op = new()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.Not) and self._hit(node, "no not") else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is int and self._hit(node, f"{node.value} to {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        if type(node.value) is bool and self._hit(node, f"not {node.value}"):
            return ast.copy_location(ast.Constant(not node.value), node)
        if type(node.value) is bytes and node.value and self._hit(node, "longer bytes"):
            return ast.copy_location(ast.Constant(node.value + b"~"), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name | ast.Attribute | ast.Call) and self._hit(node, "if not"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(each) for each in node.body]  # how a dataclass is stored is no answer
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if self._hit(node, "no raise") else node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        plain = node.value is None or (
            isinstance(node.value, ast.Constant) and type(node.value.value) in (type(None), bool)
        )
        if not plain and self._hit(node, "return None"):
            node.value = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and self._hit(node, "no call"):
            return ast.copy_location(ast.Pass(), node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node  # annotations say nothing at run time

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(each) for each in node.body]
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        return node


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module; its source is made when it is asked for."""
    source = path_of(module).read_text()
    counter = Mutator(-1)
    counter.visit(ast.parse(source))
    lines = source.splitlines()
    for number, (line, change) in enumerate(counter.places):
        yield Mutant(module, number, line, lines[line - 1].strip(), change)


class Slot:
    """A copy of the package to change, and the run that is on it."""

    def __init__(self, folder: Path, cpu: int) -> None:
        self.folder = folder
        self.cpu = cpu
        self.mutant: Mutant | None = None
        self.pid = 0
        self.began = 0.0
        for package in (PACKAGE, JUDGING):
            shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))

    def _put(self, module: str, source: str) -> None:
        path = path_of(module)
        target = self.folder / path.relative_to(PACKAGE.parent if path.parent == PACKAGE else ROOT)
        target.write_text(source)
        # A compiled file is believed by size and second: two mutants can agree in both.
        for compiled in (target.parent / "__pycache__").glob(f"{module}.*.pyc"):
            compiled.unlink()

    def start(self, mutant: Mutant, order: Order) -> None:
        self.mutant = mutant
        self._put(mutant.module, mutant.source)
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            run(self.folder, mutant.module, self.cpu, order)

    def ended(self) -> int | None:
        """The tests' exit code once they have ended; a signal's number below zero."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            if time.monotonic() - self.began < WALL_SECONDS:
                return None
            self._kill()
            os.waitpid(self.pid, 0)
            status = signal.SIGKILL
        else:
            self._kill()  # what the tests may have left behind
        assert self.mutant is not None
        self._put(self.mutant.module, path_of(self.mutant.module).read_text())
        return os.waitstatus_to_exitcode(status)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Order:
    """Which test goes first: those that noticed other mutants of the module, then the quick ones.

    A pytest plugin in the fork; the parent learns from it through files.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.noticed: Counter[str] = Counter()
        self.fewer: Callable[[Any], Any] = lambda given: given
        self.folder = ROOT

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if not any(name in item.nodeid for name in LEFT_OUT)]
        for item in items:
            given = getattr(item.obj, "_hypothesis_internal_use_settings", None)
            if given is not None and given.max_examples > EXAMPLES:
                own = getattr(item.obj, "__func__", item.obj)  # of a method, its function
                own._hypothesis_internal_use_settings = self.fewer(given)
        items.sort(key=lambda item: (-self.noticed[item.nodeid], self.seconds.get(item.nodeid, 0.0)))

    def pytest_runtest_protocol(self, item: Any) -> None:
        # The signal's usual effect is the end of the process: noticed. It counts processor time, so that a
        # machine with something else to do makes no difference.
        signal.setitimer(signal.ITIMER_VIRTUAL, TEST_CPU_SECONDS + 5 * self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            (self.folder / "noticed").write_text(report.nodeid)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        (self.folder / "seconds").write_text(json.dumps(self.seconds))


def run(folder: Path, module: str, cpu: int, order: Order) -> None:
    """In the fork: the tests against the package in this folder; never comes back."""
    code = 70
    order.folder = folder
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for fd in (1, 2):
            os.dup2(out, fd)
        os.chdir(ROOT)
        os.environ |= {"PYTHONPATH": str(folder), "TMPDIR": str(folder)}
        tempfile.tempdir = str(folder)
        sys.path.insert(0, str(folder))
        import pytest
        from hypothesis import Phase, settings

        # Nobody reads a failure, so it is not made smaller; and each run draws the same examples.
        settings.register_profile(
            "mutants", phases=(Phase.explicit, Phase.generate), database=None, derandomize=True, deadline=None
        )
        settings.load_profile("mutants")
        base = f"--basetemp={folder / 'tmp'}"
        plain = ["-q", "-x", "-p", "no:cacheprovider", "--assert=plain", "--timeout=0", base]
        tests = tests_of(module)
        order.fewer = lambda given: settings(given, max_examples=EXAMPLES)
        likely = [nodeid for nodeid, _ in order.noticed.most_common(6)]
        close = tests_of(module, FIRST[module]) if order.seconds else []
        for stage in (likely, close, tests):
            if stage:
                code = int(pytest.main([*plain, *stage], plugins=[order]))
                if code in (1, 2):  # a test failed, or could not even be loaded
                    break
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def original(module: str) -> Mutant:
    return Mutant(module, -1, 0, "", "nothing")


def cpu_needed(folder: Path, module: str) -> tuple[int, Order] | None:
    """CPU seconds of the tests without a mutant, and how long each takes; None when they fail."""
    slot = Slot(folder, 3600)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    slot.start(original(module), Order())
    while (code := slot.ended()) is None:
        time.sleep(0.05)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        print((folder / "out").read_text()[-3000:])
        return None
    order = Order()
    order.seconds = json.loads((folder / "seconds").read_text())
    return int(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) + 1, order


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{platform.machine()}, {os.cpu_count()} CPUs, {python}"


def noticed_how(code: int) -> str | None:
    """How a mutant was noticed, by the end of its run; None when it was not, or ended for no known reason."""
    if code < 0:
        return "stopped"  # it ran in circles, or for ever
    # pytest's: a test failed; a test file could not be loaded; not even conftest.py could
    return {1: "failed", 2: "not loaded", 4: "not loaded"}.get(code)


def figures(modules: dict[str, Any]) -> dict[str, Any]:
    """Totals over modules: excused and survived are both not killed."""
    count = sum(found["mutants"] for found in modules.values())
    excused = sum(len(found["excused"]) for found in modules.values())
    alive = sum(len(found["survived"]) for found in modules.values())
    killed = count - excused - alive
    return {
        "mutants": count,
        "killed": killed,
        "killed_percent": round(100 * killed / max(1, count), 1),
        "killed_percent_of_noticeable": round(100 * killed / max(1, count - excused), 1),
    }


def sentence(modules: dict[str, Any]) -> str:
    """What the pages say. A module that was not run again keeps its date, so there may be several."""
    said = figures(modules)
    *before, last = sorted({found["date"] for found in modules.values()})
    dates = f"{', '.join(before)} and {last}" if before else last
    return f"{said['killed']} of {said['mutants']} ({said['killed_percent']} %), on {dates}"


SENTENCE = re.compile(r"\d+ of \d+ \([\d.]+ %\), on \d{4}-\d\d-\d\d((, | and )\d{4}-\d\d-\d\d)*")


def digest(module: str) -> str:
    return sha256(path_of(module).read_bytes()).hexdigest()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, default=0, help="about so many of them, evenly spread")
    parser.add_argument("--modules", nargs="+", default=list(MODULES), choices=MODULES)
    parser.add_argument("--numbers", nargs="+", type=int, help="only these mutants (of one module)")
    parser.add_argument("--again", action="store_true", help="only what survived the last time")
    parser.add_argument("--changed", action="store_true", help="only modules that have changed since")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--write", action="store_true", help=f"keep the result in {FOUND.relative_to(ROOT)}")
    return parser.parse_args()


def chosen(given: argparse.Namespace, kept: dict[str, Any]) -> list[Mutant] | None:
    """The mutants to run; None when ``--again`` has nothing to go on from."""
    every = [one for module in given.modules for one in mutants(module)]
    if given.numbers:
        return [one for one in every if one.number in given.numbers]
    if given.again:
        old: dict[str, set[str]] = {}
        for module in given.modules:
            found = kept["modules"].get(module, {})
            if found.get("sha256") != digest(module):
                return None
            old[module] = {*found["survived"], *found["excused"]}
        return [one for one in every if one.name in old[one.module]]
    step = max(1, len(every) // given.sample) if given.sample else 1
    return every[step // 2 :: step]


class Result:
    """What became of each mutant."""

    def __init__(self) -> None:
        self.survived: list[Mutant] = []
        self.needless: list[Mutant] = []
        self.how: dict[str, Counter[str]] = {module: Counter() for module in MODULES}
        self.without: list[str] = []  # modules whose tests fail without any mutant

    def take(self, one: Mutant, code: int) -> None:
        how = noticed_how(code)
        if one.number < 0:
            if code != 0:
                self.without.append(one.module)
        elif how is None:
            self.survived.append(one)
            if code != 0:
                print(f"ended with {code}, which counts as survived:", one)
            elif one.excuse is None:
                print("survived:", one)
        else:
            self.how[one.module][how] += 1
            if one.excuse is not None:
                self.needless.append(one)
        sys.stdout.flush()

    def of(self, module: str, old: dict[str, Any] | None, count: int) -> dict[str, Any]:
        """The module's place in ``mutants.json``; ``old`` is what it goes on from."""
        left = [one for one in self.survived if one.module == module]
        how = self.how[module] + Counter(old["noticed"] if old else {})
        return {
            "date": time.strftime("%Y-%m-%d"),
            "sha256": digest(module),
            "mutants": old["mutants"] if old else count,
            "noticed": dict(how),
            "excused": sorted(one.name for one in left if one.excuse is not None),
            "survived": sorted(one.name for one in left if one.excuse is None),
        }


def run_all(given: argparse.Namespace, taken: list[Mutant]) -> Result | None:
    """Runs them, ``--jobs`` at a time; None when the tests fail without any."""
    result = Result()
    folder = Path(tempfile.mkdtemp(prefix="umbridge-mutants-"))
    try:
        without = cpu_needed(folder / "without", given.modules[0])
        if without is None:
            return None
        needed, order = without
        noticed = {module: Counter[str]() for module in given.modules}
        slots = [Slot(folder / str(n), 3 * needed + CPU_SECONDS) for n in range(given.jobs)]
        row = [
            one
            for module in given.modules
            for one in (*(mutant for mutant in taken if mutant.module == module), original(module))
        ]
        waiting = iter(row)
        done = 0
        while done < len(row):
            for slot in slots:
                if slot.mutant is not None and (code := slot.ended()) is not None:
                    done += 1
                    one, slot.mutant = slot.mutant, None
                    if (said := slot.folder / "noticed").exists():
                        noticed[one.module][said.read_text()] += 1
                        said.unlink()
                    result.take(one, code)
                    if done % 20 == 0:
                        print(
                            f"{done}/{len(row)}, {len(result.survived)} survived", file=sys.stderr, flush=True
                        )
                if slot.mutant is None and (following := next(waiting, None)) is not None:
                    order.noticed = noticed[following.module]
                    slot.start(following, order)
            time.sleep(0.02)
    finally:
        shutil.rmtree(folder)
    return None if result.without else result


def main() -> int:
    given = arguments()
    kept: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {"modules": {}}
    if given.changed:
        known = {module: found["sha256"] for module, found in kept["modules"].items()}
        given.modules = [module for module in given.modules if known.get(module) != digest(module)]
        print("changed:", *given.modules or ["none"])
        if not given.modules:
            return 0
    taken = chosen(given, kept)
    if taken is None:
        print("--again: a module has changed since, or was not tried")
        return 2
    for name in LIBRARIES:
        __import__(name)
    result = run_all(given, taken)
    if result is None:
        print("the tests fail without any mutant: nothing can be said")
        return 2
    for one in result.needless:
        if not any(other.text == one.text for other in result.survived):
            print("needless excuse:", one)
    modules = {
        module: result.of(
            module,
            kept["modules"][module] if given.again else None,
            sum(one.module == module for one in taken),
        )
        for module in given.modules
    }
    for module, found in modules.items():
        print(module, {key: len(value) if isinstance(value, list) else value for key, value in found.items()})
    said = figures(modules)
    print(
        f"{said['killed']} of {said['mutants']} mutants killed: {said['killed_percent']} %; "
        f"{said['killed_percent_of_noticeable']} % of those that can be noticed"
    )
    if given.write and not given.sample and not given.numbers:
        kept["modules"] |= modules
        kept |= figures(kept["modules"])
        kept["machine"] = machine()
        FOUND.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        for page in PAGES:
            page.write_text(SENTENCE.sub(sentence(kept["modules"]), page.read_text()))
    return 0 if said["killed_percent"] >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
