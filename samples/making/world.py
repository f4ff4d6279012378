"""The made-up plan's reference data: practices, providers, members, claims and cases.

Everything is invented. TINs begin with 00 and NPIs with 2, neither of which was ever given out; names, towns and
telephone numbers (555-01..) belong to nobody. The NPIs' check digits are right, as they must be to be taken.
"""

import csv
import json

BRAND = "meridian"
PLAN = "Meridian Health Plan"
PLAN_ADDRESS = ["Provider Correspondence", "P.O. Box 1200", "Port Ellery, OR 00417"]


def npi(nine):
    """Ten digits from nine: Luhn's check digit over the prefix 80840."""
    total = 0
    for place, digit in enumerate(reversed("80840" + nine)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return nine + str(-total % 10)


# key: TIN, name, street, town, telephone, colour of the letterhead
PRACTICES = {
    "harbor": ("004417203", "Harbor Point Orthopedics PC", "18 Quayside Row", "Port Ellery, OR 00411", "503-555-0114", "#1f5673"),
    "linden": ("005820914", "Linden Valley Family Medicine", "402 Mill Pond Lane", "Lindenvale, OR 00423", "503-555-0127", "#4a7c3a"),
    "cedar": ("006139578", "Cedar Ridge Imaging Center", "7 Ridge Terrace", "Cedar Ridge, OR 00431", "503-555-0133", "#6b4a86"),
    "stonebrook": ("007296035", "Stonebrook Cardiology Associates", "1150 Weir Street", "Stonebrook, OR 00438", "503-555-0142", "#9c2f3d"),
    "fairmeadow": ("008351462", "Fairmeadow General Hospital", "1 Fairmeadow Drive", "Fairmeadow, OR 00442", "503-555-0150", "#14507a"),
    "quillfeather": ("009074856", "Quillfeather Physical Therapy LLC", "29 Tannery Yard", "Port Ellery, OR 00412", "503-555-0168", "#b0651d"),
    "bayberry": ("002648197", "Bayberry Infusion Services", "63 Saltmarsh Road", "Bayberry, OR 00455", "503-555-0173", "#2d6f66"),
    "alder": ("003905721", "Alder Street Dermatology", "88 Alder Street", "Lindenvale, OR 00424", "503-555-0186", "#7a5c1e"),
}

# The day a practice registered for digital correspondence; the others get paper. Who is faxed has a number.
REGISTERED = {"harbor": "2024-03-04", "linden": "2024-05-20", "stonebrook": "2024-08-12", "fairmeadow": "2024-02-01",
              "quillfeather": "2025-01-15", "cedar": "2025-06-30"}
FAX = {"cedar": "5035550139"}

# key: NPI, name, practice
PROVIDERS = {
    "moreau": (npi("204817359"), "Anselm Moreau, MD", "harbor"),
    "tillery": (npi("215730946"), "Josephine Tillery, MD", "harbor"),
    "haddad": (npi("226491803"), "Rana Haddad, MD", "linden"),
    "sorensen": (npi("237158062"), "Nils Sorensen, MD", "cedar"),
    "achterberg": (npi("248902715"), "Willa Achterberg, MD", "stonebrook"),
    "fairmeadow": (npi("259364187"), "Fairmeadow General Hospital", "fairmeadow"),
    "prudhomme": (npi("260745931"), "Odette Prudhomme, DPT", "quillfeather"),
    "kowalczyk": (npi("271083654"), "Tomasz Kowalczyk, MD", "bayberry"),
    "ferreira": (npi("282659407"), "Lucia Ferreira, MD", "alder"),
}

# key: member id, first name, last name, birth date, account
MEMBERS = {
    "whitcombe": ("MH40726183", "Dolores", "Whitcombe", "1958-03-14", "Tannery Works 0417"),
    "okonjo": ("MH51938207", "Terrence", "Okonjo", "1971-11-02", "Ellery Port Authority 0233"),
    "venkataraman": ("MH62810495", "Priya", "Venkataraman", "1986-07-25", "Ridge Schools 0108"),
    "lindqvist": ("MH73405916", "Harold", "Lindqvist", "1949-01-30", "Retirees 0900"),
    # Twins: one birth date, one family name, neighbouring ids.
    "marisol": ("MH84217350", "Marisol", "Quintero", "2012-05-09", "Weir Street Foundry 0351"),
    "mateo": ("MH84217368", "Mateo", "Quintero", "2012-05-09", "Weir Street Foundry 0351"),
    "reyes": ("MH95063724", "Zoë", "Ångström-Reyes", "1993-09-18", "Ridge Schools 0108"),
    "odwyer": ("MH16854039", "Bernadette", "O'Dwyer", "1964-12-07", "Tannery Works 0417"),
    "nakamura": ("MH27390641", "Caleb", "Nakamura", "2001-04-22", "Lindenvale College 0512"),
    "vasquez": ("MH38649275", "Ingrid", "Vasquez-Holt", "1978-08-11", "Ellery Port Authority 0233"),
    "featherstone": ("MH49172508", "Samuel", "Featherstone", "1955-06-03", "Retirees 0900"),
    "brookhurst": ("MH50381962", "Aaliyah", "Brookhurst", "1990-02-16", "Saltmarsh Bakery 0674"),
}

# key: street, city, ZIP code, plan. The state is Oregon for all.
HOMES = {
    "whitcombe": ("14 Cannery Steps", "Port Ellery", "00411", "PPO"),
    "okonjo": ("Apt 6, 210 Harbor View", "Port Ellery", "00412", "PPO-PLUS"),
    "venkataraman": ("77 Orchard Bend", "Cedar Ridge", "00431", "PPO"),
    "lindqvist": ("3 Lantern Court", "Fairmeadow", "00442", "HMO"),
    "marisol": ("508 Foundry Row", "Stonebrook", "00438", "PPO"),
    "mateo": ("508 Foundry Row", "Stonebrook", "00438", "PPO"),
    "reyes": ("21 Larkspur Way", "Cedar Ridge", "00431", "PPO-SELECT"),
    "odwyer": ("9 Ropewalk", "Port Ellery", "00411", "PPO"),
    "nakamura": ("Hall 4, 12 College Green", "Lindenvale", "00423", "PPO"),
    "vasquez": ("640 Lighthouse Road", "Port Ellery", "00412", "PPO-PLUS"),
    "featherstone": ("2 Millrace Cottages", "Lindenvale", "00424", "HMO"),
    "brookhurst": ("35 Saltmarsh Road", "Bayberry", "00455", "PPO"),
}

# claim number: member, provider, status, service from, to, processed on
CLAIMS = {
    "CL2638150472": ("whitcombe", "moreau", "Denied", "2026-06-11", "2026-06-11", "2026-07-02"),
    "CL2671409358": ("whitcombe", "prudhomme", "Paid", "2026-07-20", "2026-08-28", "2026-09-15"),
    "CL2605927416": ("okonjo", "achterberg", "Denied", "2026-05-04", "2026-05-06", "2026-05-29"),
    "CL2694318027": ("okonjo", "fairmeadow", "Paid", "2026-05-04", "2026-05-06", "2026-06-03"),
    "CL2617853690": ("lindqvist", "fairmeadow", "Denied", "2026-04-13", "2026-04-17", "2026-05-08"),
    "CL2650279183": ("lindqvist", "prudhomme", "Processed", "2026-06-01", "2026-06-30", "2026-07-14"),
    "CL2683604951": ("nakamura", "haddad", "Denied", "2026-08-19", "2026-08-19", "2026-09-10"),
    "CL2629416708": ("nakamura", "haddad", "Duplicate", "2026-08-19", "2026-08-19", "2026-09-18"),
    "CL2646072835": ("odwyer", "ferreira", "Paid", "2026-03-24", "2026-03-24", "2026-04-15"),
    "CL2618395240": ("odwyer", "ferreira", "Denied", "2026-09-02", "2026-09-02", "2026-09-24"),
    "CL2675208164": ("reyes", "kowalczyk", "Denied", "2026-07-06", "2026-07-27", "2026-08-12"),
    "CL2631967509": ("venkataraman", "sorensen", "Paid", "2026-08-05", "2026-08-05", "2026-08-26"),
    "CL2692740386": ("vasquez", "kowalczyk", "Denied", "2026-08-10", "2026-08-10", "2026-09-01"),
    "CL2654813072": ("vasquez", "kowalczyk", "Pending", "2026-10-12", "2026-10-12", None),
    "CL2607469523": ("featherstone", "achterberg", "Denied", "2026-02-17", "2026-02-19", "2026-03-12"),
    "CL2669150847": ("featherstone", "haddad", "Paid", "2026-09-08", "2026-09-08", "2026-09-25"),
    "CL2643781290": ("brookhurst", "ferreira", "Denied", "2026-06-23", "2026-06-23", "2026-07-16"),
    "CL2620586934": ("brookhurst", "sorensen", "Denied", "2026-09-14", "2026-09-14", "2026-10-01"),
    "CL2687035412": ("mateo", "haddad", "Processed", "2026-08-27", "2026-08-27", "2026-09-17"),
    "CL2612694075": ("marisol", "fairmeadow", "Paid", "2026-07-30", "2026-07-30", "2026-08-20"),
}

# case number: status, member, provider, claim, attachment control number, service from, to, opened on, closed on
CASES = {
    "RC-7K4M9TX2": ("Received", "whitcombe", "moreau", "CL2638150472", None, "2026-06-11", "2026-06-11", "2026-08-03", None),
    "RC-2H8PWQ5D": ("In Process", "okonjo", "achterberg", "CL2605927416", "ACN93F07KQ2D5", "2026-05-04", "2026-05-06", "2026-07-20", None),
    "RC-9B3XV6NR": ("Upheld", "lindqvist", "fairmeadow", "CL2617853690", None, "2026-04-13", "2026-04-17", "2026-05-26", "2026-06-09"),
    "RC-5T7CJ2MY": ("Pended for Review", "lindqvist", "prudhomme", "CL2650279183", None, "2026-06-01", "2026-06-30", "2026-08-11", None),
    "RC-4W9KD8GZ": ("Adjusted", "odwyer", "ferreira", "CL2646072835", None, "2026-03-24", "2026-03-24", "2026-05-04", "2026-05-13"),
    "RC-8F2DM5QK": ("Received", "brookhurst", "ferreira", "CL2643781290", None, "2026-06-23", "2026-06-23", "2026-09-21", None),
    "PC-6N2RQ8VX": ("Pending", "venkataraman", "tillery", None, "ACN48T61XM9C3", "2026-12-07", "2026-12-07", "2026-11-09", None),
    # Two open requests for one member: her id alone never tells which.
    "PC-3Y5HT9KB": ("Pending", "marisol", "fairmeadow", None, "ACN70B25WH8Z6", "2026-12-15", "2026-12-16", "2026-11-12", None),
    "PC-8D4WM7CF": ("Pending", "marisol", "haddad", None, None, "2027-01-05", "2027-03-30", "2026-11-16", None),
    "PC-1G6ZP3SN": ("Processing", "mateo", "sorensen", None, None, "2026-12-03", "2026-12-03", "2026-11-18", None),
    "PC-7V9EX4JT": ("Approved", "vasquez", "kowalczyk", None, None, "2026-04-01", "2026-09-30", "2026-03-18", "2026-03-25"),
    "AP-5R8KC2WH": ("In Process", "reyes", "kowalczyk", "CL2675208164", None, "2026-07-06", "2026-07-27", "2026-09-07", None),
    "AP-9M3QD6TY": ("Received", "vasquez", "kowalczyk", None, None, "2026-11-02", "2027-04-30", "2026-11-04", None),
    "AP-2X7NB4FP": ("Decided", "featherstone", "achterberg", "CL2607469523", None, "2026-02-17", "2026-02-19", "2026-04-20", "2026-06-15"),
    # The upheld reconsideration above, appealed.
    "AP-6J9TG5VR": ("Received", "lindqvist", "fairmeadow", "CL2617853690", None, "2026-04-13", "2026-04-17", "2026-08-17", None),
    # A second open case for the claim of RC-8F2DM5QK: the claim number alone never tells which.
    "AP-4K7XW9ZB": ("Received", "brookhurst", "ferreira", "CL2643781290", None, "2026-06-23", "2026-06-23", "2026-09-28", None),
}
KINDS = {"RC": "reconsideration", "PC": "precertification", "AP": "appeal"}


class Practice:
    def __init__(self, key):
        self.key = key
        self.tin, self.name, self.street, self.town, self.telephone, self.colour = PRACTICES[key]

    @property
    def tin_hyphenated(self):
        return f"{self.tin[:2]}-{self.tin[2:]}"

    def row(self):
        city, rest = self.town.rsplit(", ", 1)
        state, zip_code = rest.split()
        return filled(tin=self.tin, name=self.name, address_line_1=self.street, city=city, state=state, zip=zip_code,
                      fax=FAX.get(self.key), registered_on=REGISTERED.get(self.key))


class Provider:
    def __init__(self, key):
        self.npi, self.name, practice = PROVIDERS[key]
        self.practice = Practice(practice)


class Member:
    def __init__(self, key):
        self.id, self.first, self.last, self.born, self.account = MEMBERS[key]
        self.street, self.city, self.zip, self.plan = HOMES[key]

    @property
    def name(self):
        return f"{self.first} {self.last}"


class Claim:
    def __init__(self, number):
        member, provider, self.status, self.start, self.end, self.processed = CLAIMS[number]
        self.number, self.member, self.provider = number, Member(member), Provider(provider)


class Case:
    def __init__(self, number):
        self.status, member, provider, self.claim, self.acn, self.start, self.end, self.opened, self.closed = CASES[number]
        self.number, self.kind = number, KINDS[number[:2]]
        self.member, self.provider = Member(member), Provider(provider)


def us(date):
    """2026-06-11 -> 06/11/2026, the way American paperwork writes it."""
    year, month, day = date.split("-")
    return f"{month}/{day}/{year}"


def span(thing):
    """A service period, in that way."""
    return us(thing.start) if thing.start == thing.end else f"{us(thing.start)} - {us(thing.end)}"


def filled(**fields):
    """A row without what nobody knows."""
    return {name: value for name, value in fields.items() if value is not None}


def rows():
    """The five tables as lists of dictionaries."""
    practices = [Practice(key) for key in PRACTICES]
    yield "tins", [p.row() for p in practices]
    providers = [Provider(key) for key in PROVIDERS]
    yield "providers", [{"npi": p.npi, "name": p.name, "tin": p.practice.tin} for p in providers]
    yield "members", [
        {"brand": BRAND, "member_id": m.id, "first_name": m.first, "last_name": m.last, "birth_date": m.born, "account": m.account,
         "address_line_1": m.street, "city": m.city, "state": "OR", "zip": m.zip, "plan": m.plan}
        for m in map(Member, MEMBERS)
    ]
    yield "claims", [
        filled(brand=BRAND, claim_number=c.number, member_id=c.member.id, tin=c.provider.practice.tin, npi=c.provider.npi,
               status=c.status, service_from=c.start, service_to=c.end, processed_on=c.processed)
        for c in map(Claim, CLAIMS)
    ]
    yield "cases", [
        filled(brand=BRAND, case_number=c.number, kind=c.kind, status=c.status, member_id=c.member.id,
               tin=c.provider.practice.tin, npi=c.provider.npi, claim_number=c.claim, attachment_control_number=c.acn,
               service_from=c.start, service_to=c.end, opened_on=c.opened, closed_on=c.closed)
        for c in map(Case, CASES)
    ]


def write(directory):
    """NDJSON for each table; the members as CSV too, for the other way such extracts come."""
    for name, table in rows():
        lines = [json.dumps(row, ensure_ascii=False) for row in table]
        (directory / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if name == "members":
            with open(directory / "members.csv", "w", encoding="utf-8", newline="") as file:
                out = csv.DictWriter(file, table[0].keys(), lineterminator="\n")
                out.writeheader()
                out.writerows(table)
