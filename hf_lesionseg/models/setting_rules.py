"""Rules for single settings: each takes a name and a value, and returns the value in one form or refuses it."""

import math
from collections.abc import Mapping
from numbers import Integral, Real


def refuse(name, value, remedy):
    """Raise the :class:`ValueError` of a setting that cannot be."""
    raise ValueError(f"{name}={value!r}: {remedy}")


def is_number(value):
    """Whether a value is a finite real number, and not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def float_pair(fits, remedy):
    """Rule: two numbers for which ``fits(first, second)`` holds."""
    return lambda name, value: tuple(float(number) for number in _pair(name, value, fits, remedy))


def int_pair(smallest, remedy):
    """Rule: two whole numbers of at least ``smallest``."""

    def check(name, value):
        pair = _pair(name, value, lambda *both: all(int(n) == n and n >= smallest for n in both), remedy)
        return tuple(int(number) for number in pair)

    return check


def optional(rule):
    """Rule: None, or what another rule allows."""
    return lambda name, value: None if value is None else rule(name, value)


def choice(options):
    """Rule: one of ``options``."""

    def check(name, value):
        if value not in options:
            refuse(name, value, f"choose one of {', '.join(options)}")
        return value

    return check


def number_that(fits, remedy):
    """Rule: a number for which ``fits(number)`` holds."""

    def check(name, value):
        if not (is_number(value) and fits(value)):
            refuse(name, value, remedy)
        return float(value)

    return check


def count_that(fits, remedy):
    """Rule: a whole number for which ``fits(number)`` holds."""

    def check(name, value):
        if not isinstance(value, Integral) or isinstance(value, bool) or not fits(value):
            refuse(name, value, remedy)
        return int(value)

    return check


def flag(name, value):
    """Rule: true or false."""
    if not isinstance(value, bool):
        refuse(name, value, "give true or false")
    return value


def _pair(name, value, fits, remedy):
    if isinstance(value, str | Mapping) or not hasattr(value, "__len__") or len(value) != 2:
        refuse(name, value, remedy)
    first, second = value
    if not (is_number(first) and is_number(second) and fits(first, second)):
        refuse(name, value, remedy)
    return first, second
