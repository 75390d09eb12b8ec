"""The tables the emulator starts with, as data: lengths and options follow an out-of-the-box Dynamics 365 Sales.

Contains every column of the shipped field map, its companions, and the columns that the vendor's Marketo solution adds
(`mkt_*`, `new_synctomkto`). Not here: what a column is (`schema.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from dynsync_pipeline.emulators.dataverse.schema import Column, Kind, Option, Schema, Table, Target

PHONE_LENGTH = 50
UTC_CODE = 92
TIME_ZONES = {
    4: "Pacific Standard Time",
    35: "Eastern Standard Time",
    65: "E. South America Standard Time",
    85: "GMT Standard Time",
    UTC_CODE: "UTC",
    110: "W. Europe Standard Time",
    190: "India Standard Time",
    235: "Tokyo Standard Time",
    290: "New Zealand Standard Time",
}
"""Some of the time zones of Dynamics: the number that a user's settings hold, and the name that Windows gives it."""
MONEY_LIMIT = 922_337_203_685_477.0


def _texts(**lengths: int) -> Iterator[Column]:
    for name, length in lengths.items():
        yield Column(name, "text", max_length=length)


def _choice(name: str, labels: dict[int, str], *, kind: Kind = "choice") -> Column:
    return Column(name, kind, options=tuple(Option(value, label) for value, label in labels.items()))


def _boolean(name: str, no: str = "No", yes: str = "Yes", *, default: int = 0) -> Column:
    return Column(name, "boolean", options=(Option(0, no), Option(1, yes)), default=default)


def _lookup(name: str, *targets: Target, writable: bool = True) -> Column:
    return Column(name, "lookup", targets=targets, valid_for_create=writable, valid_for_update=writable)


def _read_only(name: str, kind: Kind, **more: int) -> Column:
    return Column(
        name, kind, valid_for_create=False, valid_for_update=False, max_length=more.get("max_length", 100),
        precision=more.get("precision", 2), maximum=more.get("maximum", 2147483647),
    )  # fmt: skip


def _states(states: dict[int, tuple[str, dict[int, str]]]) -> Iterator[Column]:
    """The statecode and statuscode columns; `states` is state -> (label, status reasons)."""
    yield Column("statecode", "state", options=tuple(Option(value, label) for value, (label, _) in states.items()))
    yield Column(
        "statuscode",
        "status",
        options=tuple(
            Option(value, label, state) for state, (_, reasons) in states.items() for value, label in reasons.items()
        ),
    )


def _money(name: str) -> Iterator[Column]:
    yield Column(name, "money", minimum=0, maximum=MONEY_LIMIT)
    yield _read_only(f"{name}_base", "money", precision=4, maximum=int(MONEY_LIMIT))


def _address(number: int) -> Iterator[Column]:
    prefix = f"address{number}_"
    yield from _texts(**{f"{prefix}name": 200, f"{prefix}line1": 250, f"{prefix}line2": 250, f"{prefix}line3": 250})
    yield from _texts(**{f"{prefix}city": 80, f"{prefix}stateorprovince": 50, f"{prefix}postalcode": 20})
    yield from _texts(**{f"{prefix}country": 80, f"{prefix}county": 50})
    yield _read_only(f"{prefix}composite", "memo", max_length=1000)


def _system(primary_id: str) -> Iterator[Column]:
    yield Column(primary_id, "guid", required="SystemRequired", valid_for_update=False)
    yield _read_only("versionnumber", "bigint")
    yield _read_only("createdon", "datetime")
    yield _read_only("modifiedon", "datetime")
    yield Column("overriddencreatedon", "date", valid_for_update=False)
    for name in ("createdby", "modifiedby", "createdonbehalfby", "modifiedonbehalfby"):
        yield _lookup(name, Target("systemuser", name), writable=False)


def _owned() -> Iterator[Column]:
    yield Column("ownerid", "lookup", targets=(Target("systemuser", "ownerid"),), required="SystemRequired")
    yield _lookup("owninguser", Target("systemuser", "owninguser"), writable=False)
    yield _lookup("owningbusinessunit", Target("businessunit", "owningbusinessunit"), writable=False)
    yield _lookup("transactioncurrencyid", Target("transactioncurrency", "transactioncurrencyid"))
    yield Column("exchangerate", "decimal", precision=12, maximum=1e11, valid_for_create=False, valid_for_update=False)


def _marketing() -> Iterator[Column]:
    """Columns the vendor's solution adds to contact and lead."""
    for name in ("mkt_leadscore", "mkt_priority", "mkt_relativescore", "mkt_urgency"):
        yield Column(name, "integer")
    yield Column("mkt_lastinterestingmomentdate", "datetime")
    yield from _texts(
        mkt_lastinterestingmomentdesc=2000, mkt_leadinterestingmomentsource=100, mkt_lastinterestingmomenttype=100
    )
    yield _boolean("new_synctomkto", default=1)
    yield from _texts(new_extid=100)


def _person() -> Iterator[Column]:
    """Columns that contacts and leads share."""
    yield Column("lastname", "text", max_length=50, required="ApplicationRequired")
    yield from _texts(firstname=50, middlename=50, salutation=100, jobtitle=100)
    yield _read_only("fullname", "text", max_length=160)
    yield from _texts(emailaddress1=100, emailaddress2=100, emailaddress3=100, websiteurl=200)
    yield from _texts(**dict.fromkeys(("telephone1", "telephone2", "telephone3", "mobilephone", "fax"), PHONE_LENGTH))
    yield Column("description", "memo", max_length=2000)
    yield from _address(1)
    yield from _address(2)
    for name in ("donotemail", "donotfax", "donotphone", "donotpostalmail", "donotbulkemail"):
        yield _boolean(name, "Allow", "Do Not Allow")
    yield _boolean("donotsendmm", "Send", "Do Not Send")
    yield _choice("preferredcontactmethodcode", {1: "Any", 2: "Email", 3: "Phone", 4: "Fax", 5: "Mail"})
    yield _boolean("merged")
    yield from _marketing()


INDUSTRIES = {
    1: "Accounting", 2: "Agriculture and Non-petrol Natural Resource Extraction", 3: "Broadcasting Printing and "
    "Publishing", 4: "Brokers", 5: "Building Supply Retail", 6: "Business Services", 7: "Consulting",
    8: "Consumer Services", 9: "Design, Direction and Creative Management", 10: "Distributors, Dispatchers and "
    "Processors", 11: "Doctor's Offices and Clinics", 12: "Durable Manufacturing", 13: "Eating and Drinking Places",
    14: "Entertainment Retail", 15: "Equipment Rental and Leasing", 16: "Financial", 17: "Food and Tobacco Processing",
    18: "Inbound Capital Intensive Processing", 19: "Inbound Repair and Services", 20: "Insurance",
    21: "Legal Services", 22: "Non-Durable Merchandise Retail", 23: "Outbound Consumer Service",
    24: "Petrochemical Extraction and Distribution", 25: "Service Retail", 26: "SIG Affiliations",
    27: "Social Services", 28: "Special Outbound Trade Contractors", 29: "Specialty Realty", 30: "Transportation",
    31: "Utility Creation and Distribution", 32: "Vehicle Retail", 33: "Wholesale",
}  # fmt: skip
SOURCES = {
    1: "Advertisement", 2: "Employee Referral", 3: "External Referral", 4: "Partner", 5: "Public Relations",
    6: "Seminar", 7: "Trade Show", 8: "Web", 9: "Word of Mouth", 10: "Other",
}  # fmt: skip
ACTIVE = {0: ("Active", {1: "Active"}), 1: ("Inactive", {2: "Inactive"})}
LEAD_STATES = {
    0: ("Open", {1: "New", 2: "Contacted"}),
    1: ("Qualified", {3: "Qualified"}),
    2: ("Disqualified", {4: "Lost", 5: "Cannot Contact", 6: "No Longer Interested", 7: "Canceled"}),
}


def _account() -> Iterator[Column]:
    yield from _system("accountid")
    yield Column("name", "text", max_length=160, required="ApplicationRequired")
    yield from _texts(accountnumber=20, sic=20, websiteurl=200, tickersymbol=10, emailaddress1=100)
    yield from _texts(telephone1=PHONE_LENGTH, telephone2=PHONE_LENGTH, fax=PHONE_LENGTH)
    yield Column("description", "memo", max_length=2000)
    yield from _address(1)
    yield from _address(2)
    yield from _money("revenue")
    yield from _money("creditlimit")
    yield Column("numberofemployees", "integer", minimum=0, maximum=1_000_000_000)
    yield _choice("industrycode", INDUSTRIES)
    yield _choice("accountcategorycode", {1: "Preferred Customer", 2: "Standard"})
    yield _boolean("creditonhold")
    yield _boolean("donotemail", "Allow", "Do Not Allow")
    yield _boolean("merged")
    yield _lookup("masterid", Target("account", "masterid", "account_master_account"), writable=False)
    yield _lookup("parentaccountid", Target("account", "parentaccountid", "account_parent_account"))
    yield _lookup("primarycontactid", Target("contact", "primarycontactid", "account_primary_contact"))
    yield _lookup("originatingleadid", Target("lead", "originatingleadid", "account_originating_lead"))
    yield from _owned()
    yield from _states(ACTIVE)


def _contact() -> Iterator[Column]:
    yield from _system("contactid")
    yield from _person()
    yield from _texts(nickname=100, suffix=10, department=100, assistantname=100, managername=100, spousesname=100)
    yield from _texts(employeeid=50, assistantphone=PHONE_LENGTH)
    yield Column("birthdate", "date")
    yield Column("anniversary", "date")
    yield _choice("gendercode", {1: "Male", 2: "Female"})
    yield _choice("familystatuscode", {1: "Single", 2: "Married", 3: "Divorced", 4: "Widowed"})
    yield _choice("accountrolecode", {1: "Decision Maker", 2: "Employee", 3: "Influencer"})
    yield _choice("new_interests", {1: "Events", 2: "Papers", 3: "Training"}, kind="choices")
    yield _boolean("creditonhold")
    yield from _money("creditlimit")
    yield from _money("annualincome")
    yield Column("numberofchildren", "integer", minimum=0, maximum=1_000_000_000)
    yield _lookup(
        "parentcustomerid",
        Target("account", "parentcustomerid_account", "contact_customer_accounts"),
        Target("contact", "parentcustomerid_contact", "contact_customer_contacts"),
    )
    yield _lookup("masterid", Target("contact", "masterid", "contact_master_contact"), writable=False)
    yield _lookup("originatingleadid", Target("lead", "originatingleadid", "contact_originating_lead"))
    yield from _owned()
    yield from _states(ACTIVE)


def _lead() -> Iterator[Column]:
    yield from _system("leadid")
    yield from _person()
    yield from _texts(subject=300, companyname=100, sic=20)
    yield from _money("revenue")
    yield from _money("budgetamount")
    yield Column("numberofemployees", "integer", minimum=0, maximum=1_000_000)
    yield Column("estimatedclosedate", "date")
    yield _choice("leadsourcecode", SOURCES)
    yield _choice("leadqualitycode", {1: "Hot", 2: "Warm", 3: "Cold"})
    yield _choice("industrycode", INDUSTRIES)
    yield _choice("prioritycode", {1: "Default Value"})
    yield _lookup("masterid", Target("lead", "masterid", "lead_master_lead"), writable=False)
    yield _lookup("parentaccountid", Target("account", "parentaccountid", "lead_parent_account"))
    yield _lookup("parentcontactid", Target("contact", "parentcontactid", "lead_parent_contact"))
    yield _lookup(
        "customerid",
        Target("account", "customerid_account", "lead_customer_accounts"),
        Target("contact", "customerid_contact", "lead_customer_contacts"),
        writable=False,
    )
    yield from _owned()
    yield from _states(LEAD_STATES)


TASK_STATES = {
    0: ("Open", {2: "Not Started", 3: "In Progress", 4: "Waiting on someone else", 7: "Deferred"}),
    1: ("Completed", {5: "Completed"}),
    2: ("Canceled", {6: "Canceled"}),
}


def _task() -> Iterator[Column]:
    yield from _system("activityid")
    yield Column("subject", "text", max_length=200, required="ApplicationRequired")
    yield Column("description", "memo", max_length=2000)
    yield from _texts(category=250, subcategory=250)
    for name in ("scheduledstart", "scheduledend", "actualend"):
        yield Column(name, "datetime")
    yield Column("percentcomplete", "integer", minimum=0, maximum=100)
    yield Column("actualdurationminutes", "integer", minimum=0)
    yield _choice("prioritycode", {0: "Low", 1: "Normal", 2: "High"})
    yield _lookup(
        "regardingobjectid",
        *(
            Target(name, f"regardingobjectid_{name}_task", f"{name.capitalize()}_Tasks", is_parental=True)
            for name in ("account", "contact", "lead")
        ),
    )
    yield from _owned()
    yield from _states(TASK_STATES)


def _systemuser() -> Iterator[Column]:
    yield from _system("systemuserid")
    yield Column("ownerid", "guid", valid_for_create=False, valid_for_update=False)
    yield from _texts(firstname=256, lastname=256, domainname=1024, internalemailaddress=100)
    yield _read_only("fullname", "text", max_length=200)
    yield Column("azureactivedirectoryobjectid", "guid")
    yield Column("applicationid", "guid")
    yield _boolean("isdisabled", "Enabled", "Disabled")
    yield _choice("accessmode", {0: "Read-Write", 1: "Administrative", 2: "Read", 4: "Non-interactive"})
    yield _lookup("businessunitid", Target("businessunit", "businessunitid"))


def _team() -> Iterator[Column]:
    yield from _system("teamid")
    yield Column("ownerid", "guid", valid_for_create=False, valid_for_update=False)
    yield from _texts(name=160, emailaddress=100)
    yield _boolean("isdefault", "No", "Yes")
    yield _lookup("businessunitid", Target("businessunit", "businessunitid"))


def _usersettings() -> Iterator[Column]:
    yield from _system("systemuserid")
    yield Column("timezonecode", "integer")


def _timezonedefinition() -> Iterator[Column]:
    yield from _system("timezonedefinitionid")
    yield Column("timezonecode", "integer")
    yield from _texts(standardname=100, userinterfacename=100)


def _transactioncurrency() -> Iterator[Column]:
    yield from _system("transactioncurrencyid")
    yield from _texts(currencyname=100, isocurrencycode=5, currencysymbol=13)
    yield Column("currencyprecision", "integer")
    yield Column("exchangerate", "decimal", precision=12, maximum=1e11)
    yield from _states(ACTIVE)


def _organization() -> Iterator[Column]:
    yield from _system("organizationid")
    yield from _texts(name=160)
    yield Column("expirechangetrackingindays", "integer", minimum=0, maximum=365)
    yield _lookup("basecurrencyid", Target("transactioncurrency", "basecurrencyid"))


def _businessunit() -> Iterator[Column]:
    yield from _system("businessunitid")
    yield from _texts(name=160)


def _sdkmessage() -> Iterator[Column]:
    yield from _system("sdkmessageid")
    yield from _texts(name=256)


def _sdkmessagefilter() -> Iterator[Column]:
    yield from _system("sdkmessagefilterid")
    yield from _texts(name=256, primaryobjecttypecode=64)
    yield _lookup("sdkmessageid", Target("sdkmessage", "sdkmessageid", "sdkmessageid_sdkmessagefilter"))


def _table(
    name: str, entity_set: str, code: int, primary_name: str, columns: Iterator[Column], **more: object
) -> Table:
    keys = more.get("keys", {})
    writable = bool(more.get("writable", False))
    return Table(
        name=name,
        entity_set=entity_set,
        primary_id=str(more.get("primary_id", f"{name}id")),
        primary_name=primary_name,
        type_code=code,
        columns={column.name: column for column in columns},
        keys=keys if isinstance(keys, dict) else {},
        change_tracking=writable,
        writable=writable,
    )


def default_schema() -> Schema:
    """The schema of a new emulator.

    The alternate keys are there because upserts by key need some: `accountnumber`, and `new_extid` on people.
    """
    external = {"new_ExternalIdKey": ("new_extid",)}
    tables = [
        _table(
            "account", "accounts", 1, "name", _account(), writable=True, keys={"AccountNumberKey": ("accountnumber",)}
        ),
        _table("contact", "contacts", 2, "fullname", _contact(), writable=True, keys=external),
        _table("lead", "leads", 4, "fullname", _lead(), writable=True, keys=external),
        _table("task", "tasks", 4212, "subject", _task(), writable=True, primary_id="activityid"),
        _table("systemuser", "systemusers", 8, "fullname", _systemuser()),
        _table("team", "teams", 9, "name", _team()),
        _table(
            "usersettings", "usersettingscollection", 150, "systemuserid", _usersettings(), primary_id="systemuserid"
        ),
        _table("timezonedefinition", "timezonedefinitions", 4810, "userinterfacename", _timezonedefinition()),
        _table("businessunit", "businessunits", 10, "name", _businessunit()),
        _table("organization", "organizations", 1019, "name", _organization()),
        _table("sdkmessage", "sdkmessages", 4606, "name", _sdkmessage()),
        _table("sdkmessagefilter", "sdkmessagefilters", 4607, "name", _sdkmessagefilter()),
        _table("transactioncurrency", "transactioncurrencies", 9105, "currencyname", _transactioncurrency()),
    ]
    return Schema({table.name: table for table in tables})
