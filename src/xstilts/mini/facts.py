"""The fact types of the miniature: their values and their surface forms in every language.

Adding a fact type: write the class, append it to ``FACT_TYPES``. Tasks, pre-training text and tests then include it.

Source of all text: Unicode CLDR through ``babel``. Two things to know about babel 2.18. Unit patterns that a locale
lacks come back as raw ids (``12 length-kilometer``); then the short form stands in. Everything that CLDR stores as an
alias in its root locale (stand-alone month and weekday names) changes with the order in which locales are loaded,
because babel writes the resolved alias into data that locales share; so only the ``format`` context is used here.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from babel import Locale, dates, numbers, units

from xstilts.mini.fact import Fact, Piece, around_number, clean, clean_pieces, pick, without_number

# ---------------------------------------------------------------------------------------------------------- place

# zone:territory pairs of the tz database; chosen by check: city and country differ in every language.
_ZONES = """
Asia/Dubai:AE Asia/Kabul:AF Europe/Tirane:AL Asia/Yerevan:AM Africa/Luanda:AO America/Argentina/Buenos_Aires:AR
Europe/Vienna:AT Australia/Sydney:AU Asia/Baku:AZ Europe/Sarajevo:BA Asia/Dhaka:BD Europe/Brussels:BE Europe/Sofia:BG
America/La_Paz:BO America/Sao_Paulo:BR America/Nassau:BS Europe/Minsk:BY America/Toronto:CA Europe/Zurich:CH
America/Santiago:CL Africa/Douala:CM Asia/Shanghai:CN America/Bogota:CO America/Havana:CU Asia/Nicosia:CY
Europe/Prague:CZ Europe/Berlin:DE Europe/Copenhagen:DK America/Guayaquil:EC Europe/Tallinn:EE Africa/Cairo:EG
Europe/Madrid:ES Africa/Addis_Ababa:ET Europe/Helsinki:FI Europe/Paris:FR Europe/London:GB Asia/Tbilisi:GE
Africa/Accra:GH Africa/Conakry:GN Europe/Athens:GR Europe/Zagreb:HR Europe/Budapest:HU Asia/Jakarta:ID Europe/Dublin:IE
Asia/Jerusalem:IL Asia/Baghdad:IQ Asia/Tehran:IR Atlantic/Reykjavik:IS Europe/Rome:IT Asia/Amman:JO Asia/Tokyo:JP
Africa/Nairobi:KE Asia/Bishkek:KG Asia/Phnom_Penh:KH Asia/Seoul:KR Asia/Almaty:KZ Asia/Vientiane:LA Asia/Beirut:LB
Asia/Colombo:LK Africa/Monrovia:LR Europe/Vilnius:LT Europe/Riga:LV Africa/Casablanca:MA Europe/Skopje:MK
Africa/Bamako:ML Asia/Ulaanbaatar:MN Asia/Kuala_Lumpur:MY Africa/Maputo:MZ Africa/Windhoek:NA Africa/Niamey:NE
Africa/Lagos:NG America/Managua:NI Europe/Amsterdam:NL Europe/Oslo:NO Pacific/Auckland:NZ Asia/Muscat:OM America/Lima:PE
Asia/Manila:PH Asia/Karachi:PK Europe/Warsaw:PL Europe/Lisbon:PT Europe/Bucharest:RO Europe/Belgrade:RS
Europe/Moscow:RU Africa/Kigali:RW Asia/Riyadh:SA Africa/Khartoum:SD Europe/Stockholm:SE Europe/Ljubljana:SI
Africa/Dakar:SN Africa/Mogadishu:SO Asia/Damascus:SY Asia/Bangkok:TH Asia/Dushanbe:TJ Europe/Istanbul:TR Asia/Taipei:TW
Africa/Kampala:UG America/New_York:US America/Montevideo:UY Asia/Tashkent:UZ America/Caracas:VE Africa/Johannesburg:ZA
Africa/Lusaka:ZM Africa/Harare:ZW
"""
ZONES: dict[str, str] = {zone: territory for zone, _, territory in (pair.partition(":") for pair in _ZONES.split())}


@dataclass(frozen=True, slots=True)
class Place(Fact):
    """A city (the exemplar city of a time zone); implies its country."""

    kind: ClassVar[str] = "place"
    tag: ClassVar[str] = "LOC"
    exact: ClassVar[tuple[str, ...]] = ("city",)
    implied: ClassVar[tuple[str, ...]] = ("country",)

    zone: str

    @property
    def key(self) -> str:
        """The zone."""
        return f"place:{self.zone}"

    def meaning(self, form: str) -> Hashable:
        """Zone or territory."""
        return self.zone if form == "city" else ZONES[self.zone]

    def pieces(self, form: str, language: str) -> tuple[Piece, ...]:
        """City or country name."""
        if form == "city":
            return (Piece(clean(dates.get_timezone_location(self.zone, locale=language, return_city=True)), "CITY"),)
        return (Piece(clean(Locale.parse(language).territories[ZONES[self.zone]]), "COUNTRY"),)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Place:
        """Any city."""
        return cls(pick(rng, tuple(ZONES)))

    def near(self, rng: np.random.Generator) -> Place:
        """A city of the same continent, where there is one."""
        region = self.zone.partition("/")[0]
        others = tuple(zone for zone in ZONES if zone != self.zone)
        return Place(pick(rng, tuple(zone for zone in others if zone.startswith(region)) or others))


# ----------------------------------------------------------------------------------------------------------- date

_FIELD_TYPES = {"y": "YEAR", "M": "MONTH", "L": "MONTH", "d": "DAY", "E": "WEEKDAY", "c": "WEEKDAY", "G": "LITERAL"}
YEARS = (1990, 2029)


@dataclass(frozen=True, slots=True)
class Day(Fact):
    """A calendar date; implies its month, and its weekday where the text shows one."""

    kind: ClassVar[str] = "date"
    tag: ClassVar[str] = "DATE"
    exact: ClassVar[tuple[str, ...]] = ("full", "long", "medium")
    implied: ClassVar[tuple[str, ...]] = ("month", "weekday")

    date: datetime.date

    @property
    def key(self) -> str:
        """The date."""
        return f"date:{self.date.isoformat()}"

    def meaning(self, form: str) -> Hashable:
        """Date, month 1-12 or weekday 0-6 (Monday = 0)."""
        if form == "month":
            return self.date.month
        return self.date.weekday() if form == "weekday" else self.date

    def pieces(self, form: str, language: str) -> tuple[Piece, ...]:
        """The date in one of CLDR's formats, or the name of its month or weekday."""
        if form == "month":
            return (Piece(clean(dates.get_month_names("wide", "format", language)[self.date.month]), "MONTH"),)
        if form == "weekday":
            return (Piece(clean(dates.get_day_names("wide", "format", language)[self.date.weekday()]), "WEEKDAY"),)
        values = dates.DateTimeFormat(self.date, language)
        pieces = []
        for token, value in dates.tokenize_pattern(dates.get_date_format(form, language).pattern):
            if token == "chars":
                pieces.append(Piece(str(value), "LITERAL"))
            else:
                letter, count = value
                pieces.append(Piece(values[letter * count], _FIELD_TYPES[letter]))
        return clean_pieces(pieces)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Day:
        """Any date of ``YEARS``."""
        first = datetime.date(YEARS[0], 1, 1).toordinal()
        return cls(datetime.date.fromordinal(first + int(rng.integers((YEARS[1] - YEARS[0] + 1) * 365))))

    def near(self, rng: np.random.Generator) -> Day:
        """Another month or another day of the same year."""
        month, day = self.date.month, self.date.day
        if rng.random() < 0.7:
            month = 1 + (month - 1 + int(rng.integers(1, 12))) % 12
            return Day(self.date.replace(month=month, day=min(day, 28)))
        return Day(self.date.replace(day=1 + (min(day, 28) - 1 + int(rng.integers(1, 28))) % 28))

    @classmethod
    def states(cls, form: str, shown: str) -> bool:
        """The weekday can only be read off the full format."""
        return shown == "full" if form == "weekday" else shown in cls.exact


# ------------------------------------------------------------------------------------------------------- quantity

UNITS: tuple[str, ...] = (
    "mass-kilogram", "length-kilometer", "length-meter", "volume-liter",
    "duration-hour", "digital-megabyte", "temperature-celsius", "power-watt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity(Fact):
    """An amount of a unit; implies the unit."""

    kind: ClassVar[str] = "quantity"
    tag: ClassVar[str] = "QUANTITY"
    exact: ClassVar[tuple[str, ...]] = ("long", "short")
    implied: ClassVar[tuple[str, ...]] = ("unit",)

    amount: int
    unit: str

    @property
    def key(self) -> str:
        """Amount and unit."""
        return f"quantity:{self.amount} {self.unit}"

    def meaning(self, form: str) -> Hashable:
        """(amount, unit) or unit."""
        return self.unit if form == "unit" else (self.amount, self.unit)

    def pieces(self, form: str, language: str) -> tuple[Piece, ...]:
        """The amount with its unit, or the name of the unit alone."""
        text = units.format_unit(self.amount, self.unit, "short" if form == "short" else "long", locale=language)
        if self.unit in text:  # the locale lacks the long pattern, and babel returns the raw id
            text = units.format_unit(self.amount, self.unit, "short", locale=language)
        return without_number(text, "UNIT") if form == "unit" else around_number(text, "UNIT")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Quantity:
        """2 to 60 of any unit."""
        return cls(int(rng.integers(2, 61)), pick(rng, UNITS))

    def near(self, rng: np.random.Generator) -> Quantity:
        """The same amount of another unit, or another amount of the same unit."""
        if rng.random() < 0.5:
            return Quantity(self.amount, pick(rng, tuple(unit for unit in UNITS if unit != self.unit)))
        return Quantity(2 + (self.amount - 2 + int(rng.integers(1, 59))) % 59, self.unit)


# ---------------------------------------------------------------------------------------------------------- money

CURRENCIES: tuple[str, ...] = (
    "EUR", "USD", "GBP", "JPY", "CNY", "INR", "RUB", "BRL", "CHF", "TRY", "MXN", "ZAR", "EGP", "KES", "SAR", "THB",
)  # fmt: skip

#: Sums of money are not amounts of a quantity, so a number alone never matches across the two types.
_AMOUNTS: tuple[int, ...] = (*range(61, 100), *range(100, 1000, 50))


@dataclass(frozen=True, slots=True)
class Money(Fact):
    """An amount of a currency; implies the currency."""

    kind: ClassVar[str] = "money"
    tag: ClassVar[str] = "MONEY"
    exact: ClassVar[tuple[str, ...]] = ("name", "symbol")
    implied: ClassVar[tuple[str, ...]] = ("currency",)

    amount: int
    currency: str

    @property
    def key(self) -> str:
        """The currency: held-out currencies never occur in training."""
        return f"money:{self.currency}"

    def meaning(self, form: str) -> Hashable:
        """(amount, currency) or currency."""
        return self.currency if form == "currency" else (self.amount, self.currency)

    def pieces(self, form: str, language: str) -> tuple[Piece, ...]:
        """The amount with name or symbol of its currency, or the name alone; no decimals."""
        if form == "symbol":
            pattern = Locale.parse(language).currency_formats["standard"].pattern.replace(".00", "")
            text = numbers.format_currency(
                self.amount, self.currency, format=pattern, locale=language, currency_digits=False
            )
            return around_number(text, "CURRENCY")
        text = numbers.format_currency(
            self.amount, self.currency, format="0", locale=language, currency_digits=False, format_type="name"
        )
        return without_number(text, "CURRENCY") if form == "currency" else around_number(text, "CURRENCY")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Money:
        """One of ``_AMOUNTS`` of any currency."""
        return cls(pick(rng, _AMOUNTS), pick(rng, CURRENCIES))

    def near(self, rng: np.random.Generator) -> Money:
        """The same amount of another currency, or another amount of the same currency."""
        if rng.random() < 0.5:
            return Money(self.amount, pick(rng, tuple(code for code in CURRENCIES if code != self.currency)))
        return Money(pick(rng, tuple(amount for amount in _AMOUNTS if amount != self.amount)), self.currency)


FACT_TYPES: tuple[type[Fact], ...] = (Place, Day, Quantity, Money)
