"""Mutation testing of the verifying half (``make mutants``): one small change at a time, which some
test must notice.

It parses a module, changes one operator, constant, comparison, condition or return, and runs the tests that
hold the module against a copy of the package. A mutant that no test notices is printed with its line. Mutants
that cannot be noticed (a faster path to the same answer, a bound that nothing reaches) are listed below, each
with its reason; all others count as survivors. ``--sample N`` takes every k-th, for a quick look.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "audit" / "umbridge_audit"
MODULES = ("entry", "slots", "tree", "checkpoint", "verify")
TESTS = (
    "test_entry.py",
    "test_tree.py",
    "test_vectors.py",
    "test_checkpoint.py",
    "test_cosign.py",
    "test_proof.py",
    "test_sweep.py",
    "test_attacks.py",
    "test_store.py",
)
SECONDS = 240
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

# (module, text of the line, why no test can notice)
EQUAL: tuple[tuple[str, str, str], ...] = (
    ("slots", "if kind is str and value.isascii():", "the way round is slower and gives the same text"),
    ("slots", "elif kind is int and 0 <= value <= MAX_INT:", "the same"),
    ("entry", "if not value and type(value) is list:", "the same"),
    ("entry", "_MAKE = getattr(", "the same"),
    ("entry", "_PIECES = ", "the same"),
    ("entry", 'text = "".join(_PIECES(value, 0))', "the same"),
    ("tree", "if size & 255:", "the same"),
    ("verify", "report.seconds =", "the clock"),
    ("verify", "if len(self._known) > 4:", "how much is remembered, not what is said"),
    ("verify", "if len(self._seen) > _SIZES_KEPT:", "the same"),
    ("verify", "_SIZES_KEPT = ", "the same"),
)


class Mutator(ast.NodeTransformer):
    """Counts every place that can be changed; changes the one that is asked for."""

    def __init__(self, wanted: int) -> None:
        self.count = 0
        self.wanted = wanted
        self.line = 0

    def _hit(self, node: ast.expr | ast.stmt) -> bool:
        self.count += 1
        if self.count - 1 == self.wanted:
            self.line = node.lineno
            return True
        return False

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for at, op in enumerate(node.ops):
            if type(op) in COMPARE and self._hit(node):
                node.ops[at] = COMPARE[type(op)]()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        if type(node.op) in BINARY and not text and self._hit(node):
            node.op = BINARY[type(node.op)]()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._hit(node):
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.Not) and self._hit(node) else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is int and self._hit(node):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        if type(node.value) is bool and self._hit(node):
            return ast.copy_location(ast.Constant(not node.value), node)
        if type(node.value) is bytes and node.value and self._hit(node):
            return ast.copy_location(ast.Constant(node.value + b"~"), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name | ast.Attribute | ast.Call) and self._hit(node):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if self._hit(node) else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and self._hit(node):
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


def mutants(module: str) -> Iterator[tuple[int, int, str, str]]:
    """(number, line, the line's text, the changed source) of every mutant of a module."""
    source = (PACKAGE / f"{module}.py").read_text()
    tree = ast.parse(source)
    counter = Mutator(-1)
    counter.visit(copy.deepcopy(tree))
    lines = source.splitlines()
    for wanted in range(counter.count):
        changed = Mutator(wanted)
        new = ast.fix_missing_locations(changed.visit(copy.deepcopy(tree)))
        yield wanted, changed.line, lines[changed.line - 1].strip(), ast.unparse(new)


def excused(module: str, text: str) -> bool:
    return any(module == where and text.startswith(start) for where, start, _ in EQUAL)


def killed(folder: Path, module: str, source: str) -> bool:
    """Whether the tests fail, or hang, on a copy of the package with this module in it."""
    target = folder / "umbridge_audit" / f"{module}.py"
    kept = target.read_text()
    target.write_text(source)
    tests = [str(ROOT / "audit" / "tests" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=60", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(folder), "UMBRIDGE_MUTANT": "1"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_text(kept)
    return done.returncode != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, default=0, help="about so many of them, evenly spread")
    parser.add_argument("--modules", nargs="+", default=list(MODULES))
    given = parser.parse_args()
    every = [(module, *one) for module in given.modules for one in mutants(module)]
    counted = [one for one in every if not excused(one[0], one[3])]
    step = max(1, len(counted) // given.sample) if given.sample else 1
    taken = counted[step // 2 :: step]
    folder = Path(tempfile.mkdtemp(prefix="umbridge-mutants-"))
    survived = 0
    try:
        shutil.copytree(PACKAGE, folder / "umbridge_audit", ignore=shutil.ignore_patterns("__pycache__"))
        if killed(folder, taken[0][0], (PACKAGE / f"{taken[0][0]}.py").read_text()):
            print("the tests fail without any mutant: nothing can be said")
            return 2
        for at, (module, number, line, text, source) in enumerate(taken, 1):
            if not killed(folder, module, source):
                survived += 1
                print(f"survived: {module}.py:{line} (mutant {number})  {text}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{at}/{len(taken)}, {survived} survived", end="", file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    share = 100 * (len(taken) - survived) / len(taken)
    print(
        f"{len(every)} mutants, {len(every) - len(counted)} excused with reasons, {len(taken)} tried, "
        f"{survived} survived: {share:.1f} % killed"
    )
    return 0 if share >= 95 else 1


if __name__ == "__main__":
    sys.exit(main())
