"""Invented people and companies in many languages and scripts, the same ones for the same number and seed.

Names come from pools of a few thousand drawn once and combined at random, so that a million rows take seconds. Some
rows are odd on purpose, a few cannot be taken by the other system. Not here: putting them into an emulator.
"""

from __future__ import annotations

import random
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from faker import Faker

Row = dict[str, object]
T = TypeVar("T")

_LOCALES = (
    *("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "sv_SE", "pt_BR", "tr_TR", "cs_CZ", "vi_VN"),
    *("ru_RU", "uk_UA", "el_GR", "he_IL", "ar_SA", "hi_IN", "th_TH", "ja_JP", "zh_CN", "ko_KR"),
)
_COUNTRIES = (
    *("United States", "United Kingdom", "Deutschland", "France", "España", "Italia", "Polska", "Sverige", "Brasil"),
    *(
        "Türkiye",
        "Česko",
        "Việt Nam",
        "Россия",
        "Україна",
        "Ελλάδα",
        "ישראל",
        "السعودية",
        "भारत",
        "ประเทศไทย",
        "日本",
        "中国",
        "대한민국",
    ),
)
_DOMAINS = ("example.com", "example.org", "example.net")
_SALUTATIONS = ("Mr.", "Ms.", "Dr.", "Mx.", None, None)
_NOTES = (
    None,
    None,
    None,
    "Prefers to be called in the morning.",
    "Met at a trade fair;\nasked for prices, in writing.",
    'Said: "not before spring", then wrote again.',
    "Zurückrufen – Größe & Preis klären ✔",
)
_LEAD_SOURCES = (1, 4, 6, 7, 8, 8, 8, 10, None)
# First and last names that break careless code: apostrophe, emoji, joined emoji, marks of direction, an astral
# character, combining accents, the longest last name Dynamics takes, the word that stands for nothing in exports.
_ODD_NAMES = (
    ("Conor", "O'Brien"),
    ("Zoë 🎉", "D’Angelo-Núñez"),
    ("👩‍🔬 Ada", "Smith, Jr."),
    ("\u200fשרה\u200e", "אבן־גבירול"),
    ("𠮷郎", "髙橋"),
    ("Jose\u0301", "Nun\u0303ez"),
    ("Hubert", "Wolfeschlegelsteinhausenbergerdorff-Schmidt-Lüdenx"),
    (None, "Null"),
)
_ODD_EVERY = 61
_REFUSED_EVERY = 499


class _Pools(NamedTuple):
    """What one locale offers."""

    first: list[str]
    last: list[str]
    company: list[str]
    street: list[str]
    city: list[str]
    state: Sequence[str | None]
    job: list[str]
    postal_code: list[str]
    phone: list[str]
    country: str


@cache
def _pools() -> tuple[_Pools, ...]:
    return tuple(_locale_pools(locale, country) for locale, country in zip(_LOCALES, _COUNTRIES, strict=True))


def _locale_pools(locale: str, country: str) -> _Pools:
    fake = Faker(locale)
    fake.seed_instance(20_260_101)

    def draw(make: Callable[[], str], n: int, longest: int) -> list[str]:
        drawn = dict.fromkeys(make() for _ in range(n))
        return [value for value in drawn if 0 < len(value) <= longest]

    return _Pools(
        first=draw(fake.first_name, 200, 50),
        last=draw(fake.last_name, 200, 50),
        company=draw(fake.company, 80, 80),
        street=draw(fake.street_address, 60, 200),
        city=draw(fake.city, 60, 80),
        state=draw(fake.state, 40, 50) if hasattr(fake, "state") else (None,),
        job=draw(fake.job, 40, 100),
        postal_code=draw(fake.postcode, 60, 20),
        phone=draw(fake.phone_number, 100, 30),
        country=country,
    )


def sample_accounts(n: int, seed: int) -> Iterator[Row]:
    """`n` companies by Dynamics columns, each with its `accountid`."""
    dice = random.Random(f"accounts {seed}")  # noqa: S311 - invented names, not secrets
    for number in range(n):
        pool = _pick(dice, _pools())
        website = f"https://www.company-{number}.{_pick(dice, _DOMAINS)}"
        yield {
            "accountid": _guid("account", seed, number),
            "name": f"{_pick(dice, pool.company)} {number + 1}",
            "address1_line1": _pick(dice, pool.street),
            "address1_city": _pick(dice, pool.city),
            "address1_stateorprovince": _pick(dice, pool.state),
            "address1_country": pool.country,
            "address1_postalcode": _pick(dice, pool.postal_code),
            "telephone1": _pick(dice, pool.phone),
            "revenue": None if dice.random() < 0.2 else round(dice.lognormvariate(14, 1.5), 2),
            "industrycode": None if dice.random() < 0.2 else dice.randint(1, 33),
            "sic": f"{dice.randint(100, 9999):04d}",
            "websiteurl": website if dice.random() < 0.8 else None,
            "numberofemployees": None if dice.random() < 0.2 else int(dice.lognormvariate(4, 1.5)),
            "description": _pick(dice, _NOTES),
        }


def sample_contacts(n: int, account_ids: Sequence[str], seed: int) -> Iterator[Row]:
    """`n` contacts by Dynamics columns, each with its `contactid` and `parentcustomerid_account` (an id or None)."""
    dice = random.Random(f"contacts {seed}")  # noqa: S311
    for number in range(n):
        row = _dynamics_person(dice, "contact", seed, number)
        row["birthdate"] = None if dice.random() < 0.6 else _day(dice, 1945, 2004)
        row["parentcustomerid_account"] = _pick(dice, account_ids) if account_ids and dice.random() < 0.85 else None
        yield row


def sample_leads(n: int, seed: int) -> Iterator[Row]:
    """`n` leads by Dynamics columns, each with its `leadid`."""
    dice = random.Random(f"leads {seed}")  # noqa: S311
    for number in range(n):
        row = _dynamics_person(dice, "lead", seed, number)
        pool = _pick(dice, _pools())
        row["fax"] = _pick(dice, pool.phone) if dice.random() < 0.1 else None
        row["leadsourcecode"] = _pick(dice, _LEAD_SOURCES)
        row["leadqualitycode"] = None if dice.random() < 0.3 else dice.randint(1, 3)
        row["subject"] = f"Interested in {pool.job[0]}"[:100]
        row["companyname"] = None if dice.random() < 0.3 else _pick(dice, pool.company)
        row["revenue"] = None if dice.random() < 0.7 else round(dice.lognormvariate(12, 1.5), 2)
        yield row


def sample_people(n: int, seed: int) -> Iterator[Row]:
    """`n` people who exist in Marketo only, by REST names; created in 2025. A few titles are too long for Dynamics."""
    dice = random.Random(f"people {seed}")  # noqa: S311
    for number in range(n):
        pool = _pick(dice, _pools())
        first, last = _names(dice, pool, number)
        title = _pick(dice, pool.job) if dice.random() < 0.7 else None
        yield {
            "salutation": _pick(dice, _SALUTATIONS),
            "firstName": first,
            "lastName": last,
            "email": _email(dice, last, "p", number),
            "title": "Deputy " * 22 if number % _REFUSED_EVERY == 23 else title,
            "phone": _pick(dice, pool.phone) if dice.random() < 0.6 else None,
            "address": _pick(dice, pool.street) if dice.random() < 0.5 else None,
            "city": _pick(dice, pool.city),
            "state": _pick(dice, pool.state),
            "country": pool.country,
            "postalCode": _pick(dice, pool.postal_code) if dice.random() < 0.5 else None,
            "company": _pick(dice, pool.company) if dice.random() < 0.6 else None,
            "leadScore": dice.randint(0, 100) if dice.random() < 0.8 else None,
            "unsubscribed": dice.random() < 0.1,
            "mktoPersonNotes": _pick(dice, _NOTES),
            "createdAt": f"{_day(dice, 2025, 2025)}T{dice.randint(0, 23):02d}:{dice.randint(0, 59):02d}:00Z",
        }


def _dynamics_person(dice: random.Random, kind: str, seed: int, number: int) -> Row:
    pool = _pick(dice, _pools())
    first, last = _names(dice, pool, number)
    email = _email(dice, last, kind[0], number)
    if number % _REFUSED_EVERY == 17:
        email = f"grüße.{kind}.{number}@example.com"  # Marketo takes ASCII only and answers 1003
    return {
        f"{kind}id": _guid(kind, seed, number),
        "salutation": _pick(dice, _SALUTATIONS),
        "firstname": first,
        "middlename": _pick(dice, pool.first) if dice.random() < 0.1 else None,
        "lastname": last,
        "emailaddress1": email,
        "jobtitle": _pick(dice, pool.job) if dice.random() < 0.8 else None,
        "telephone1": _pick(dice, pool.phone) if dice.random() < 0.7 else None,
        "mobilephone": _pick(dice, pool.phone) if dice.random() < 0.4 else None,
        "address1_line1": _pick(dice, pool.street) if dice.random() < 0.7 else None,
        "address1_city": _pick(dice, pool.city) if dice.random() < 0.8 else None,
        "address1_stateorprovince": _pick(dice, pool.state),
        "address1_country": pool.country,
        "address1_postalcode": _pick(dice, pool.postal_code) if dice.random() < 0.7 else None,
        "donotphone": dice.random() < 0.1,
        "donotbulkemail": dice.random() < 0.15,
        "description": _pick(dice, _NOTES),
    }


def _names(dice: random.Random, pool: _Pools, number: int) -> tuple[str | None, str]:
    if number % _ODD_EVERY == 7:
        return _ODD_NAMES[number // _ODD_EVERY % len(_ODD_NAMES)]
    return (None if dice.random() < 0.03 else _pick(dice, pool.first)), _pick(dice, pool.last)


def _email(dice: random.Random, last: str, prefix: str, number: int) -> str | None:
    """Unique, ASCII, in a domain reserved for examples; now and then none, now and then the previous person's."""
    chance = dice.random()
    if chance < 0.04:
        return None
    if chance < 0.043:
        return f"shared.{prefix}.{number // 50}@example.com"
    folded = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    name = "".join(letter for letter in folded.lower() if letter.isalnum())
    return f"{name or 'someone'}.{prefix}{number}@{_DOMAINS[number % len(_DOMAINS)]}"


def _day(dice: random.Random, first_year: int, last_year: int) -> str:
    return f"{dice.randint(first_year, last_year)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"


def _guid(kind: str, seed: int, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"dynsync sample {kind} {seed} {number}"))


def _pick(dice: random.Random, options: Sequence[T]) -> T:
    return options[int(dice.random() * len(options))]
