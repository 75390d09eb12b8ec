"""The fields of people and companies: the standard ones as data, and where each is stored.

What a value of a type must look like is in `values.py`; creating custom fields is in `schema_fields.py`.
Source: docs/protocols/marketo.md#writing-people, #reading-people.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

STRING_TYPES = frozenset({"string", "text", "email", "phone", "url"})
INTEGER_TYPES = frozenset({"integer", "score", "percent", "reference"})
REAL_TYPES = frozenset({"float", "currency"})
_SQL_TYPES = {**dict.fromkeys(INTEGER_TYPES, "integer"), **dict.fromkeys(REAL_TYPES, "real")}  # all others are text
SEARCHABLE_TYPES = frozenset({"string", "email", "integer"})
TEXT_LIMIT_BYTES = 30_000
FIRST_CUSTOM_ID = 1001
CREATABLE_TYPES = (
    *("boolean", "currency", "date", "datetime", "email", "float", "integer", "percent", "phone", "score", "string"),
    *("text", "url"),
)
LENGTHS = {"string": 255, "email": 255, "phone": 255, "url": 255}


class Field(msgspec.Struct, frozen=True):
    """One field. `length` is in characters, None where describe shows none; `on_company` values live on companies."""

    id: int
    name: str
    display_name: str
    type: str
    length: int | None = None
    is_read_only: bool = False
    on_company: bool = False
    is_custom: bool = False
    description: str = ""
    is_hidden: bool = False
    is_sensitive: bool = False
    is_api_created: bool = False

    @property
    def sql(self) -> str:
        """The expression that reads the field from `people p join companies c on c.id = p.contactCompany`."""
        computed = {
            "mktoName": "nullif(trim(coalesce(p.firstName, '') || ' ' || coalesce(p.lastName, '')), '')",
            "leadPerson": "p.id",
        }
        return computed.get(self.name) or f'{"c" if self.on_company else "p"}."{self.name}"'

    @property
    def is_stored_on_person(self) -> bool:
        """Whether the table `people` has a column of this name."""
        return not self.on_company and self.name not in ("mktoName", "leadPerson")

    @property
    def column(self) -> str:
        """The column definition in SQLite. Booleans are never null: unset ones read false."""
        if self.name == "id":
            return "id integer primary key autoincrement"
        if self.type == "boolean":
            return f'"{self.name}" integer not null default 0'
        kind = _SQL_TYPES.get(self.type, "text")
        collation = " collate nocase" if self.type in SEARCHABLE_TYPES and kind == "text" else ""
        return f'"{self.name}" {kind}{collation}'


def _standard(rows: str) -> tuple[Field, ...]:
    """Read the table below: id, REST name, type(length), display name; `*` marks read-only, `+` a company field."""
    found = []
    for line in rows.strip().splitlines():
        number, name, kind, display_name = line.split(maxsplit=3)
        type_name, _, length = kind.rstrip(")").partition("(")
        found.append(
            Field(
                id=int(number),
                name=name.rstrip("*+"),
                display_name=display_name,
                type=type_name,
                length=int(length) if length else None,
                is_read_only="*" in name,
                on_company="+" in name,
            )
        )
    return tuple(found)


STANDARD_FIELDS = _standard("""
4   company+                   string(255)  Company Name
5   site+                      string(255)  Site
6   billingStreet+             text         Billing Address
7   billingCity+               string(255)  Billing City
8   billingState+              string(255)  Billing State
9   billingCountry+            string(255)  Billing Country
10  billingPostalCode+         string(255)  Billing Postal Code
11  website+                   url(255)     Website
12  mainPhone+                 string(255)  Main Phone
13  annualRevenue+             currency     Annual Revenue
14  numberOfEmployees+         integer      Num Employees
15  industry+                  string(255)  Industry
16  sicCode+                   string(40)   SIC Code
17  mktoCompanyNotes+          text         Marketo Company Notes
41  externalCompanyId+         string(50)   External Company Id
44  id                         integer      Id
45  mktoName*                  string(255)  Full Name
46  mktoIsPartner              boolean      Is Partner
47  isLead                     boolean      Is Lead
48  mktoIsCustomer             boolean      Is Customer
49  isAnonymous                boolean      Is Anonymous
51  contactCompany*            reference    Contact Company
52  salutation                 string(255)  Salutation
53  firstName                  string(255)  First Name
54  middleName                 string(255)  Middle Name
55  lastName                   string(255)  Last Name
56  email                      email(255)   Email Address
57  phone                      phone(255)   Phone Number
58  mobilePhone                phone(255)   Mobile Phone Number
59  fax                        phone(255)   Fax Number
60  title                      string(255)  Job Title
61  dateOfBirth                date         Date of Birth
62  address                    text         Address
63  city                       string(255)  City
64  state                      string(255)  State
65  country                    string(255)  Country
66  postalCode                 string(255)  Postal Code
67  personTimeZone*            string(255)  Person Time Zone
68  originalSourceType*        string(255)  Original Source Type
69  originalSourceInfo*        string(2000) Original Source Info
70  registrationSourceType     string(255)  Registration Source Type
71  registrationSourceInfo     string(2000) Registration Source Info
72  originalSearchEngine*      string(255)  Original Search Engine
73  originalSearchPhrase*      string(255)  Original Search Phrase
74  originalReferrer*          url(255)     Original Referrer
75  emailInvalid               boolean      Email Invalid
76  emailInvalidCause          string(255)  Email Invalid Cause
77  unsubscribed               boolean      Unsubscribed
78  unsubscribedReason         string(2000) Unsubscribed Reason
79  doNotCall                  boolean      Do Not Call
80  mktoDoNotCallCause         string(255)  Do Not Call Cause
81  doNotCallReason            string(2000) Do Not Call Reason
82  marketingSuspended         boolean      Marketing Suspended
83  marketingSuspendedCause    string(255)  Marketing Suspended Cause
84  blackListed                boolean      Black Listed
85  blackListedCause           string(255)  Black Listed Cause
86  mktoPersonNotes            text         Marketo Person Notes
87  anonymousIP                string(255)  Anonymous IP
88  inferredCompany*           string(255)  Inferred Company
89  inferredCountry*           string(255)  Inferred Country
90  inferredCity*              string(255)  Inferred City
91  inferredStateRegion*       string(255)  Inferred State Region
92  inferredPostalCode*        string(255)  Inferred Postal Code
93  inferredMetropolitanArea*  string(255)  Inferred Metropolitan Area
94  inferredPhoneAreaCode*     string(255)  Inferred Phone Area Code
95  emailSuspended             boolean      Email Suspended
96  emailSuspendedCause        string(255)  Email Suspended Cause
97  emailSuspendedAt           datetime     Email Suspended At
98  department                 string(255)  Department
99  cookies                    string(255)  Cookies
100 externalSalesPersonId      string(50)   External Sales Person Id
101 leadPerson*                reference    Lead Person
102 leadRole                   string(50)   Lead Role
103 leadSource                 string(255)  Person Source
104 leadStatus                 string(255)  Person Status
105 leadScore                  integer      Person Score
106 urgency                    float        Urgency
107 priority                   integer      Priority
108 relativeScore              integer      Relative Score
109 relativeUrgency            integer      Relative Urgency
110 rating                     string(255)  Person Rating
111 personPrimaryLeadInterest* reference    Primary Lead Interest
112 leadPartitionId            reference    Lead Partition Id
113 leadRevenueCycleModelId    reference    Lead Revenue Cycle Model Id
114 leadRevenueStageId         reference    Lead Revenue Stage Id
115 acquisitionProgramId       reference    Acquisition Program Id
116 mktoAcquisitionDate        datetime     Acquisition Date
117 personType                 string(50)   Person Type
130 createdAt*                 datetime     Created At
131 updatedAt*                 datetime     Updated At
""")

COMPANY_FIELDS = tuple(field for field in STANDARD_FIELDS if field.on_company)

# The custom fields a sync with Dynamics keeps on people, and those of Sales Insight; every fresh subscription has them.
SYNC_FIELDS = (
    Field(1001, "dynamicsLeadId", "Dynamics Lead Id", "string", 255, is_custom=True),
    Field(1002, "dynamicsContactId", "Dynamics Contact Id", "string", 255, is_custom=True),
    Field(1003, "dynamicsType", "Dynamics Type", "string", 255, is_custom=True),
    Field(1004, "dynamicsIsDeleted", "Dynamics is Deleted", "boolean", is_custom=True),
    Field(1005, "dynamicsCreatedOn", "Dynamics Created On", "datetime", is_custom=True),
    Field(1006, "msiLastInterestingMomentDate", "Last Interesting Moment Date", "datetime", is_custom=True),
    Field(1007, "msiLastInterestingMomentDesc", "Last Interesting Moment Desc", "text", is_custom=True),
    Field(1008, "msiLastInterestingMomentSource", "Last Interesting Moment Source", "string", 255, is_custom=True),
    Field(1009, "msiLastInterestingMomentType", "Last Interesting Moment Type", "string", 255, is_custom=True),
)

DEFAULT_READ = ("id", "email", "firstName", "lastName", "updatedAt", "createdAt")
# Legal filter types beside the custom fields; those without a field of that name here never match anybody.
FILTER_TYPES = (
    *("id", "email", "cookies", "leadPartitionId", "facebookId", "linkedInId", "twitterId", "sfdcAccountId"),
    *("sfdcContactId", "sfdcLeadId", "sfdcLeadOwnerId", "sfdcOpptyId"),
)


class Catalogue:
    """All fields of the subscription by REST name, in the order describe lists them."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self.by_name = {field.name: field for field in fields}
        self.withdrawn: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Field:
        return self.by_name[name]

    def get(self, name: str) -> Field | None:
        """The field of this REST name, or None when there is none or it is withdrawn. Names are case-sensitive."""
        return None if name in self.withdrawn else self.by_name.get(name)

    def all(self) -> list[Field]:
        """Every field the API offers, standard ones first; `by_name` has the withdrawn ones too."""
        return [field for name, field in self.by_name.items() if name not in self.withdrawn]

    def add(self, field: Field) -> None:
        """Take in a field just created or changed."""
        self.by_name[field.name] = field

    @property
    def filter_types(self) -> list[str]:
        """Legal `filterType` and `lookupField` names: the fixed ones, and custom fields of a searchable type."""
        custom = [field.name for field in self.all() if field.is_custom and field.type in SEARCHABLE_TYPES]
        return [*FILTER_TYPES, *custom]
