# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of integers, and what follows from it: z3 over linear arithmetic.

Numbers are mathematical integers. Products of two unknowns and quotients by one are names
of their own, with the few laws that indices need: that of signs, that a product grows with
its factors, and that a number is its quotient times the divisor, plus the rest. All of these
hold whatever is assumed, so they stay when an assumption is dropped.

Effort is counted in z3's resources, not in seconds: the same answer on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import z3

__all__ = ["Facts"]

#: z3's resources for a question, some tenths of a second; and for one that is insisted on.
EFFORT = 1_000_000
MORE_EFFORT = 32 * EFFORT
#: More than sizes of 31 bits: a product of two of them is no larger.
SIZE = 2**31 - 1
#: Exponents whose powers of two are known.
POWERS = (0, 1, 2, 4, 8, 16, 31, 32, 62, 63)
Interval = tuple[float, float]
ALL: Interval = (float("-inf"), float("inf"))


def make_solver(arithmetic: int, effort: int = EFFORT) -> z3.Solver:
    """With z3's older solver of linear arithmetic, 2, which is mostly faster here, or its
    newer one, 6."""
    solver = z3.SimpleSolver()
    solver.set("arith.solver", arithmetic)
    solver.set("rlimit", effort)
    return solver


class Facts:
    def __init__(self) -> None:
        self.solver = make_solver(arithmetic=2)
        #: Assumed now: the conditions of the branches that are taken.
        self.path: list[z3.BoolRef] = []
        self.questions = 0
        #: Answers, by the numbers of terms, which live as long: facts are only added.
        self._proven: dict[tuple[int, ...], Any] = {}
        self._reachable: dict[tuple[int, ...], Any] = {}
        self._count = 0
        self._intervals: dict[int, tuple[Any, Interval]] = {}
        #: By the text of the factors: (factor, factor, product).
        self._products: dict[tuple[str, str], tuple[Any, Any, Any]] = {}
        self._quotients: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._powers: dict[str, Any] = {}
        #: Constants that a factor was a multiple by, such as rows of a request.
        self._scales: set[int] = set()
        #: Numbers that may be another one, cut to fewer bits, by their ids.
        self.casts: dict[int, Any] = {}

    # -- Asking

    def assume(self, fact: z3.BoolRef) -> None:
        """For good: of numbers that are new, or where nothing is on the path."""
        self.solver.add(fact)

    @contextmanager
    def where(self, *conditions: z3.BoolRef) -> Iterator[None]:
        self.path += conditions
        try:
            yield
        finally:
            del self.path[len(self.path) - len(conditions) :]

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What is added inside is forgotten."""
        saved = dict(self._products), dict(self._quotients), dict(self._powers)
        self.solver.push()
        try:
            yield
        finally:
            self.solver.pop()
            self._products, self._quotients, self._powers = saved

    def proves(self, goal: z3.BoolRef, insists: bool = False) -> bool:
        """With `insists`, another solver is asked where one does not know, then with more effort."""
        goal = z3.simplify(goal)
        if z3.is_true(goal):
            return True
        key = (goal.get_id(), *(condition.get_id() for condition in self.path))
        if key in self._proven:
            return True
        answer, _ = self._ask(z3.Not(goal))
        for effort in (EFFORT, MORE_EFFORT) if insists else ():
            if answer == z3.unknown:
                other = make_solver(6, effort)
                other.add(*self.solver.assertions(), *self.path, z3.Not(goal))
                answer = other.check()
        if answer == z3.unsat:
            self._proven[key] = (goal, list(self.path))
        return answer == z3.unsat

    def proves_which(self, goals: list[z3.BoolRef]) -> list[bool]:
        """Of each goal. What a counterexample to one says of the others saves questions."""
        open_ = list(range(len(goals)))
        while open_:
            answer, model = self._ask(z3.Not(z3.And([goals[n] for n in open_])))
            if answer == z3.unsat:
                break
            if model is None:
                open_ = [n for n in open_ if self.proves(goals[n])]
                break
            open_ = [n for n in open_ if z3.is_true(model.eval(goals[n], True))]
        return [n in open_ for n in range(len(goals))]

    def _ask(self, *conditions: z3.BoolRef) -> tuple[Any, Any]:
        """The solver's answer, and a model where there is one."""
        self.questions += 1
        self.solver.push()
        self.solver.add(*self.path, *conditions)
        answer = self.solver.check()
        model = self.solver.model() if answer == z3.sat else None
        self.solver.pop()
        return answer, model

    def is_reachable(self) -> bool:
        """Whether the path is not contradictory, as far as can be seen."""
        key = tuple(condition.get_id() for condition in self.path)
        if key not in self._reachable:
            answer, _ = self._ask()
            self._reachable[key] = (answer != z3.unsat, list(self.path))
        return self._reachable[key][0]

    # -- Numbers

    def number(self, name: str, low: int | None = None, high: int | None = None) -> Any:
        """A new one, from `low` to `high`."""
        self._count += 1
        number = z3.Int(f"{name}.{self._count}")
        if low is not None:
            self.solver.add(number >= low)
        if high is not None:
            self.solver.add(number <= high)
        interval = (ALL[0] if low is None else low, ALL[1] if high is None else high)
        self._intervals[number.get_id()] = (number, interval)
        return number

    def boolean(self, name: str) -> Any:
        self._count += 1
        return z3.Bool(f"{name}.{self._count}")

    def interval(self, number: Any) -> Interval:
        """Where it is whatever the path: what its form says."""
        known = self._intervals.get(number.get_id())
        if known is None:
            known = (number, self._measure(number))
            self._intervals[number.get_id()] = known
        return known[1]

    def _measure(self, number: Any) -> Interval:
        if z3.is_int_value(number):
            return (number.as_long(), number.as_long())
        kind = number.decl().kind()
        if kind == z3.Z3_OP_ITE:
            (a, b), (c, d) = (self.interval(part) for part in number.children()[1:])
            return (min(a, c), max(b, d))
        if kind not in (z3.Z3_OP_ADD, z3.Z3_OP_SUB, z3.Z3_OP_UMINUS, z3.Z3_OP_MUL):
            return ALL
        parts = [self.interval(part) for part in number.children()]
        if kind == z3.Z3_OP_ADD:
            return (sum(low for low, _ in parts), sum(high for _, high in parts))
        if kind == z3.Z3_OP_UMINUS:
            return (-parts[0][1], -parts[0][0])
        (a, b), *rest = parts
        if kind == z3.Z3_OP_SUB:
            return (a - sum(high for _, high in rest), b - sum(low for low, _ in rest))
        if len(parts) != 2 or ALL[0] in (*parts[0], *parts[1]) or ALL[1] in (*parts[0], *parts[1]):
            return ALL
        corners = [x * y for x in parts[0] for y in parts[1]]
        return (min(corners), max(corners))

    def is_between(self, number: Any, low: int, high: int, ask: bool) -> bool:
        """Without `ask`, only whether its form says so."""
        least, most = self.interval(number)
        if least >= low and most <= high:
            return True
        return ask and self.proves(z3.And(number >= low, number <= high))

    @staticmethod
    def constant(number: Any) -> int | None:
        number = z3.simplify(number)
        return number.as_long() if z3.is_int_value(number) else None

    # -- Products and quotients

    def product(self, a: Any, b: Any) -> Any:
        a, b = z3.simplify(a, som=True), z3.simplify(b, som=True)
        for x, y in ((a, b), (b, a)):
            if z3.is_int_value(x):
                return x * y
            # Sums and multiples: so that factors are the same where they can be.
            if z3.is_add(x) and x.num_args() <= 4:
                return z3.Sum([self.product(part, y) for part in x.children()])
            if z3.is_mul(x) and x.num_args() == 2 and z3.is_int_value(x.arg(0)):
                self._scales.add(x.arg(0).as_long())
                return x.arg(0) * self.product(x.arg(1), y)
        if a.sexpr() > b.sexpr():
            a, b = b, a
        key = (a.sexpr(), b.sexpr())
        if key not in self._products:
            self._products[key] = (a, b, self._new_product(a, b))
        return self._products[key][2]

    def _new_product(self, a: Any, b: Any) -> Any:
        p = self.number("product")
        least = [self.interval(factor)[0] for factor in (a, b)]
        self.solver.add(z3.Implies(z3.Or(a == 0, b == 0), p == 0))
        for x, y in ((a, b), (b, a)):
            self.solver.add(
                z3.Implies(x == 1, p == y), z3.Implies(z3.And(x >= 1, y >= 0), p >= y)
            )
        positive = z3.And(a >= 0, b >= 0)
        self.solver.add(z3.Implies(positive, p >= 0))
        small = z3.And(positive, a <= SIZE, b <= SIZE)
        self.solver.add(z3.Implies(small, p <= SIZE**2))
        if min(least) >= 0:
            most = self.interval(a)[1] * self.interval(b)[1]
            self._intervals[p.get_id()] = (p, (0, most))
        for c, d, q in list(self._products.values()):
            for x, y in ((a, b), (b, a)):
                for v, w in ((c, d), (d, c)):
                    if y.eq(w):
                        self._compare(x, p, v, q, y)
        return p

    def _compare(self, x: Any, p: Any, v: Any, q: Any, shared: Any) -> None:
        """p = x * shared, q = v * shared."""
        grows = shared >= 0
        self.solver.add(
            z3.Implies(z3.And(grows, x < v), p + shared <= q),
            z3.Implies(z3.And(grows, v < x), q + shared <= p),
            z3.Implies(x == v, p == q),
            # A product may be known of a multiple that has a name of its own.
            *(z3.Implies(x == scale * v, p == scale * q) for scale in sorted(self._scales)),
            *(z3.Implies(v == scale * x, q == scale * p) for scale in sorted(self._scales)),
        )
        if not {x.get_id(), v.get_id()}.isdisjoint(self.casts.keys()):
            self.solver.add(
                z3.Implies(x == v + 1, p == q + shared), z3.Implies(v == x + 1, q == p + shared)
            )

    def multiples(self, factor: Any) -> list[tuple[Any, Any]]:
        """(other factor, product) of each product that there is with a factor."""
        factor = z3.simplify(factor, som=True)
        known = list(self._products.values())
        return [(b, p) for a, b, p in known if a.eq(factor)] + [
            (a, p) for a, b, p in known if b.eq(factor)
        ]

    def divide(self, a: Any, d: Any) -> tuple[Any, Any]:
        """Quotient, towards minus infinity, and rest; of a divisor that is not known to be
        positive, any numbers where it is not, or where `a` is negative."""
        a, d = z3.simplify(a, som=True), z3.simplify(d, som=True)
        fixed = self.constant(d)
        if fixed is not None and fixed <= 0:
            return self.number("quotient"), self.number("rest")
        if fixed == 1:
            return a, z3.IntVal(0)
        if (value := self.constant(a)) is not None and fixed:
            return z3.IntVal(value // fixed), z3.IntVal(value % fixed)
        key = (a.sexpr(), d.sexpr())
        if key not in self._quotients:
            if fixed:
                q, r = self.number("quotient"), self.number("rest", 0, fixed - 1)
                self.solver.add(a == fixed * q + r)
                low, high = self.interval(a)
                if low > ALL[0] and high < ALL[1]:
                    bounds = (int(low) // fixed, int(high) // fixed)
                    self._intervals[q.get_id()] = (q, bounds)
            else:
                q, r = self.number("quotient"), self.number("rest")
                usual = z3.And(d > 0, a >= 0)
                whole = self.product(q, d)
                self.solver.add(
                    z3.Implies(
                        usual, z3.And(q >= 0, q <= a, r >= 0, r < d, a == whole + r)
                    ),
                    z3.Implies(z3.And(usual, a < d), q == 0),
                    z3.Implies(z3.And(usual, a < 2 * d), q <= 1),
                )
            self._quotients[key] = (q, r)
        return self._quotients[key]

    def power(self, exponent: Any) -> Any:
        """Two to the exponent, of one from 0 to 63; else any number."""
        exponent = z3.simplify(exponent, som=True)
        key = exponent.sexpr()
        if key not in self._powers:
            p = self.number("power", 1)
            for known in POWERS:
                self.solver.add(
                    z3.Implies(exponent >= known, p >= 2**known),
                    z3.Implies(exponent <= known, p <= 2**known),
                )
            self._powers[key] = p
        return self._powers[key]

    def ceil_divide(self, a: Any, d: int) -> Any:
        """Quotient towards plus infinity."""
        return a if d == 1 else self.divide(a + (d - 1), z3.IntVal(d))[0]
