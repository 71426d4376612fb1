"""What the personal-data room takes and gives: settings, people, findings. Plain frozen types, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Entity(StrEnum):
    """What a finding is. The names are Presidio's where Presidio has one."""

    PASSWORD = "PASSWORD"
    PIN = "PIN"  # also CVV, door and alarm codes
    OTP = "OTP"  # one-time codes
    API_KEY = "API_KEY"
    PRIVATE_KEY = "PRIVATE_KEY"
    SEED_PHRASE = "SEED_PHRASE"
    URL_SECRET = "URL_SECRET"  # a link that opens something by itself
    CREDIT_CARD = "CREDIT_CARD"
    CARD_EXPIRY = "CARD_EXPIRY"
    IBAN_CODE = "IBAN_CODE"
    BANK_ACCOUNT = "BANK_ACCOUNT"
    CRYPTO_WALLET = "CRYPTO_WALLET"
    NATIONAL_ID = "NATIONAL_ID"
    TAX_ID = "TAX_ID"
    HEALTH_ID = "HEALTH_ID"
    PASSPORT = "PASSPORT"
    DRIVER_LICENSE = "DRIVER_LICENSE"
    LICENSE_PLATE = "LICENSE_PLATE"
    IP_ADDRESS = "IP_ADDRESS"
    PERSON = "PERSON"
    USERNAME = "USERNAME"
    PHONE_NUMBER = "PHONE_NUMBER"
    EMAIL_ADDRESS = "EMAIL_ADDRESS"
    ADDRESS = "ADDRESS"
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    DENIED = "DENIED"  # the person's own deny list


IDENTITIES = frozenset(
    {
        Entity.PERSON,
        Entity.USERNAME,
        Entity.PHONE_NUMBER,
        Entity.EMAIL_ADDRESS,
        Entity.ADDRESS,
        Entity.DATE_OF_BIRTH,
    }
)
"""Replaced by a stable surrogate. Everything else is a secret and becomes a typed tag."""

SECRETS = frozenset(Entity) - IDENTITIES


class ContactChoice(StrEnum):
    ALLOW = "allow"  # the contact's own names stay
    PSEUDONYMISE = "pseudonymise"
    EXCLUDE = "exclude"  # the chat goes, and every quote and forward of that person


class Names(StrEnum):
    """How far first names are looked for that no contact bears."""

    CONTACTS = "contacts"  # the export's own people alone
    CAREFUL = "careful"  # English ones only where a word beside them says so: every tenth English word is also a name
    ALL = "all"  # wherever a listed name stands with a capital


class Ner(StrEnum):
    """A named-entity model beside the word lists; the person installs it."""

    NONE = "none"
    SPACY = "spacy"
    NATASHA = "natasha"


@dataclass(frozen=True, slots=True)
class PiiSettings:
    """What a recipe says about personal data (the block `prepare.pii`)."""

    names: Names = Names.CAREFUL
    ner: Ner = Ner.NONE
    ner_model: str = "xx_ent_wiki_sm"  # the spaCy model, where ner is spacy
    allow: tuple[str, ...] = ()  # words and phrases that always stay
    deny: tuple[str, ...] = ()  # words and phrases that always go
    ignore: tuple[Entity, ...] = ()  # types that are not looked for
    n_neighbours: int = 3  # messages of the same chat a question's answer is looked for in
    max_message_chars: int = 20_000  # longer ones are replaced whole


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person the export itself names: a contact, or the owner of the account."""

    person_id: str  # stable, never a display name
    names: tuple[str, ...] = ()  # titles and display names as written: "Алёна Игоревна", "mum"
    usernames: tuple[str, ...] = ()  # without @
    phones: tuple[str, ...] = ()
    choice: ContactChoice = ContactChoice.PSEUDONYMISE


@dataclass(frozen=True, slots=True)
class Finding:
    """One span of personal data: code-point offsets into the text it was found in."""

    start: int
    end: int
    entity: Entity
    score: float  # 0 to 1
    rule: str  # which rule found it, for review; never a value


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A message after scrubbing. `failed` means it could not be looked at and was replaced whole."""

    text: str
    findings: tuple[Finding, ...] = ()
    failed: bool = False

    @property
    def has_secret(self) -> bool:
        """True where a typed tag stands in the text: such a turn must not be graded."""
        return self.failed or any(f.entity not in IDENTITIES for f in self.findings)


@dataclass(slots=True)
class ScrubCounts:
    """Counts for the report: no value, no offset, no length."""

    n_messages: int = 0
    n_failed: int = 0
    by_entity: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=dict)

    def add(self, scrubbed: Scrubbed) -> None:
        self.n_messages += 1
        self.n_failed += scrubbed.failed
        for finding in scrubbed.findings:
            self.by_entity[finding.entity] = self.by_entity.get(finding.entity, 0) + 1
            self.by_rule[finding.rule] = self.by_rule.get(finding.rule, 0) + 1

    def merge(self, other: ScrubCounts) -> None:
        self.n_messages += other.n_messages
        self.n_failed += other.n_failed
        for mine, theirs in ((self.by_entity, other.by_entity), (self.by_rule, other.by_rule)):
            for key, n in theirs.items():
                mine[key] = mine.get(key, 0) + n

    def as_json(self) -> Mapping[str, object]:
        return {
            "n_messages": self.n_messages,
            "n_failed": self.n_failed,
            "by_type": dict(sorted(self.by_entity.items())),
            "by_rule": dict(sorted(self.by_rule.items())),
        }
