"""Parts of a date from seconds since 1970, in float64 arithmetic that is exact for the years 1600 to 2400.

Days become a date by Howard Hinnant's ``civil_from_days`` ("chrono-Compatible Low-Level Date Algorithms"): years are
counted from March, in eras of 400 years with 146,097 days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from pipeline.model.graphs import Graph

DAY_S = 86_400.0

TURNS: Mapping[str, float] = {"month": 12, "day": 31, "weekday": 7, "hour": 24, "minute": 60, "yearday": 366}
"""Length of a turn of each part, for cycles."""


class Dates:
    """Parts of the times in a matrix; a part costs its nodes only once, and only when it is asked for."""

    def __init__(self, graph: Graph, seconds: str) -> None:
        self.graph, self.seconds = graph, seconds

    def part(self, name: str) -> str:
        """Compute one of the keys of `PARTS`."""
        return PARTS[name](self)

    def _do(self, operator: str, left: str, right: str | float) -> str:
        return self.graph.add(operator, left, right if isinstance(right, str) else self.graph.constant([[right]]))

    def _floor(self, left: str, divisor: float) -> str:
        return self.graph.add("Floor", self._do("Div", left, divisor))

    @cached_property
    def _of_day(self) -> str:
        rest = self.graph.add("Mod", self.seconds, self.graph.constant([[DAY_S]]), fmod=1)
        return self.graph.add("Where", self._do("Less", rest, 0.0), self._do("Add", rest, DAY_S), rest)

    @cached_property
    def _days(self) -> str:
        return self._do("Div", self._do("Sub", self.seconds, self._of_day), DAY_S)

    @cached_property
    def _era(self) -> str:
        return self._floor(self._do("Add", self._days, 719_468.0), 146_097.0)

    @cached_property
    def _day_of_era(self) -> str:
        return self._do("Sub", self._do("Add", self._days, 719_468.0), self._do("Mul", self._era, 146_097.0))

    @cached_property
    def _year_of_era(self) -> str:
        day = self._day_of_era
        for sign, length in (("Sub", 1_460.0), ("Add", 36_524.0), ("Sub", 146_096.0)):
            day = self._do(sign, day, self._floor(self._day_of_era, length))
        return self._floor(day, 365.0)

    @cached_property
    def _day_of_year(self) -> str:
        """Days since the first of March."""
        year = self._year_of_era
        before = self._do("Add", self._do("Mul", year, 365.0), self._floor(year, 4.0))
        return self._do("Sub", self._day_of_era, self._do("Sub", before, self._floor(year, 100.0)))

    @cached_property
    def _month_from_march(self) -> str:
        return self._floor(self._do("Add", self._do("Mul", self._day_of_year, 5.0), 2.0), 153.0)

    @cached_property
    def _in_next_year(self) -> str:
        return self._do("GreaterOrEqual", self._month_from_march, 10.0)

    @cached_property
    def _year(self) -> str:
        year = self._do("Add", self._year_of_era, self._do("Mul", self._era, 400.0))
        return self.graph.add("Where", self._in_next_year, self._do("Add", year, 1.0), year)

    def _month(self) -> str:
        later, earlier = (self._do("Add", self._month_from_march, shift) for shift in (-9.0, 3.0))
        return self.graph.add("Where", self._in_next_year, later, earlier)

    def _day(self) -> str:
        before = self._floor(self._do("Add", self._do("Mul", self._month_from_march, 153.0), 2.0), 5.0)
        return self._do("Add", self._do("Sub", self._day_of_year, before), 1.0)

    def _weekday(self) -> str:
        week = self._floor(self._do("Add", self._days, 3.0), 7.0)
        return self._do("Sub", self._do("Add", self._days, 3.0), self._do("Mul", week, 7.0))

    @cached_property
    def _hour(self) -> str:
        return self._floor(self._of_day, 3_600.0)

    def _minute(self) -> str:
        return self._do("Sub", self._floor(self._of_day, 60.0), self._do("Mul", self._hour, 60.0))

    def _leap_days(self, year: str) -> str:
        """Count the leap days up to the end of a year."""
        days = self._do("Sub", self._floor(year, 4.0), self._floor(year, 100.0))
        return self._do("Add", days, self._floor(year, 400.0))

    def _yearday(self) -> str:
        leap = self._do("Sub", self._leap_days(self._year), self._leap_days(self._do("Sub", self._year, 1.0)))
        early = self._do("Sub", self._day_of_year, 305.0)
        late = self._do("Add", self._do("Add", self._day_of_year, 60.0), leap)
        return self.graph.add("Where", self._in_next_year, early, late)


PARTS: Mapping[str, Callable[[Dates], str]] = {
    "year": lambda dates: dates._year,  # noqa: SLF001
    "month": Dates._month,  # noqa: SLF001
    "day": Dates._day,  # noqa: SLF001
    "weekday": Dates._weekday,  # noqa: SLF001
    "hour": lambda dates: dates._hour,  # noqa: SLF001
    "minute": Dates._minute,  # noqa: SLF001
    "yearday": Dates._yearday,  # noqa: SLF001
}
"""Parts by name; weekday 0 is Monday, yearday 1 is the first of January."""
