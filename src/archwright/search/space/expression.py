"""Arithmetic over named columns: the language of ``when=``, ``require=`` and ``subject_to``.

An expression is a small, safe part of Python: numbers, texts, names (dots allowed), arithmetic,
comparisons, ``in``, ``and``, ``or``, ``not`` and a few functions. It is evaluated over whole
columns at once. ``chance(name)`` is the column ``chance_name``: the probability that a limit on
``name`` holds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from archwright.errors import SpecificationError, unknown
from archwright.search.space.arithmetic import divided, exact, power

__all__ = ["CHANCE", "Expression"]

CHANCE = "chance_"
"""What the column of a chance begins with, before the name of its metric."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: exact(operator.add),
    ast.Sub: exact(operator.sub),
    ast.Mult: exact(operator.mul),
    ast.Div: divided(operator.truediv),
    ast.FloorDiv: divided(operator.floordiv),
    ast.Mod: divided(operator.mod),
    ast.Pow: power,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "log": np.log,
    "log2": np.log2,
    "max": lambda *values: reduce(np.maximum, values),
    "min": lambda *values: reduce(np.minimum, values),
    "sqrt": np.sqrt,
}


class Expression:
    """A parsed expression.

    >>> rule = Expression("heads % kv_heads == 0")
    >>> rule.names
    ('heads', 'kv_heads')
    >>> rule({"heads": np.array([8, 9]), "kv_heads": np.array([4, 4])})
    array([ True, False])

    Args:
        text: the expression.
        where: where it stands, for messages.

    Raises:
        SpecificationError: it is no expression of this language.
    """

    def __init__(self, text: str, *, where: str = "expression") -> None:
        self.text = text
        self._where = where
        if not isinstance(text, str):
            raise SpecificationError(f"{where}: expected a text, found {text!r}")
        try:
            self.tree: ast.expr = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise SpecificationError(f"{where}: {text!r} is no expression") from error
        names: list[str] = []
        self._collect(self.tree, names)
        self.names = tuple(dict.fromkeys(names))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def bind(self, values: Mapping[str, Any]) -> Expression:
        """Return the expression with some names replaced by their values.

        >>> Expression("heads % kv_heads == 0").bind({"kv_heads": 4}).text
        'heads % 4 == 0'
        """
        bound = _Bind(values).visit(ast.parse(self.text.strip(), mode="eval").body)
        return Expression(ast.unparse(bound), where=self._where)

    def check_names(self, known: Iterable[str]) -> None:
        """Refuse names that are not known, naming the nearest."""
        choices = list(known)
        for name in self.names:
            if name not in choices:
                raise SpecificationError(
                    f"{self._where}: in {self.text!r}: {unknown('name', name, choices)}"
                )

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """Evaluate over columns (arrays of one length, or scalars).

        Raises:
            SpecificationError: the values do not fit, such as a text under arithmetic.
        """
        return self.side(self.tree, columns)

    def comparison(self) -> tuple[ast.expr, str, ast.expr] | None:
        """Return (left, operator, right) if the whole is one comparison, else None."""
        tree = self.tree
        symbols = {ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">", ast.Eq: "=="}
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
            return None
        symbol = symbols.get(type(tree.ops[0]))
        return None if symbol is None else (tree.left, symbol, tree.comparators[0])

    def side(self, tree: ast.expr, columns: Mapping[str, Any]) -> Any:
        """Evaluate a part of the expression, as :meth:`comparison` returns it."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            try:
                return _evaluate(tree, columns)
            except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
                raise SpecificationError(
                    f"{self._where}: {self.text!r} does not fit its values: {error}"
                ) from error

    def _collect(self, tree: ast.expr, names: list[str]) -> None:
        name = _dotted(tree)
        if name is not None:
            names.append(name)
            return
        children: list[ast.expr]
        match tree:
            case ast.Constant(value=value) if isinstance(value, (bool, int, float, str)):
                children = []
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                children = [left, right]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
                children = [operand]
            case ast.BoolOp(values=values):
                children = values
            case ast.Compare(left=left, ops=ops, comparators=right_sides) if all(
                type(test) in _COMPARE or isinstance(test, (ast.In, ast.NotIn)) for test in ops
            ):
                children = [left]
                for test, side in zip(ops, right_sides, strict=True):
                    if not isinstance(test, (ast.In, ast.NotIn)):
                        children.append(side)
                    elif isinstance(side, (ast.List, ast.Tuple)):
                        children += side.elts
                    else:
                        raise SpecificationError(
                            f"{self._where}: in {self.text!r}: 'in' needs a list, found "
                            f"{ast.unparse(side)!r}"
                        )
            case ast.Call(func=ast.Name(id="chance"), args=arguments, keywords=[]):
                of = _dotted(arguments[0]) if len(arguments) == 1 else None
                if of is None:
                    raise SpecificationError(
                        f"{self._where}: in {self.text!r}: chance takes the name of one metric"
                    )
                names.append(f"{CHANCE}{of}")
                children = []
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
                if function not in _FUNCTIONS:
                    raise SpecificationError(
                        f"{self._where}: in {self.text!r}: "
                        f"{unknown('function', function, [*_FUNCTIONS, 'chance'])}"
                    )
                if not arguments or (len(arguments) > 1 and function not in ("max", "min")):
                    raise SpecificationError(
                        f"{self._where}: in {self.text!r}: {function} does not take "
                        f"{len(arguments)} arguments"
                    )
                children = arguments
            case _:
                raise SpecificationError(
                    f"{self._where}: {ast.unparse(tree)!r} in {self.text!r} is not allowed; use "
                    "numbers, texts, names, arithmetic, comparisons, and, or, not, in"
                )
        for child in children:
            self._collect(child, names)


class _Bind(ast.NodeTransformer):
    """Replaces names by constants."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def generic_visit(self, node: ast.AST) -> ast.AST:
        name = _dotted(node) if isinstance(node, ast.expr) else None
        if name is not None and name in self._values:
            return ast.Constant(self._values[name])
        return node if name is not None else super().generic_visit(node)


def _dotted(tree: ast.expr) -> str | None:
    if isinstance(tree, ast.Name):
        return tree.id
    if isinstance(tree, ast.Attribute):
        head = _dotted(tree.value)
        return None if head is None else f"{head}.{tree.attr}"
    return None


def _evaluate(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    name = _dotted(tree)
    if name is not None:
        return columns[name]
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, columns), _evaluate(right, columns))
        case ast.UnaryOp(op=op, operand=operand):
            inner = _evaluate(operand, columns)
            if isinstance(op, ast.Not):
                return np.logical_not(inner)
            return -inner if isinstance(op, ast.USub) else inner
        case ast.BoolOp(op=op, values=values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(join, (_evaluate(value, columns) for value in values))
        case ast.Compare(left=left, ops=ops, comparators=right_sides):
            parts, this = [], _evaluate(left, columns)
            for test, side in zip(ops, right_sides, strict=True):
                if isinstance(test, (ast.In, ast.NotIn)):
                    assert isinstance(side, (ast.List, ast.Tuple))
                    equal = [np.equal(this, _evaluate(element, columns)) for element in side.elts]
                    inside = reduce(np.logical_or, equal, np.False_)
                    parts.append(inside if isinstance(test, ast.In) else np.logical_not(inside))
                else:
                    other = _evaluate(side, columns)
                    parts.append(_COMPARE[type(test)](this, other))
                    this = other
            return reduce(np.logical_and, parts)
        case ast.Call(func=ast.Name(id="chance"), args=[argument]):
            return columns[f"{CHANCE}{_dotted(argument)}"]
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _FUNCTIONS[function](*(_evaluate(a, columns) for a in arguments))
    raise AssertionError(ast.dump(tree))  # _collect has refused everything else
