"""What the licences of weights and data allow, and which one a model made of them may carry.

No legal advice: a table of the terms people meet, read cautiously. A model counts as made from its
pretrained weights and from its data, although courts have not settled the second.

Names are the Hub's identifiers (hub-docs, "Licenses") where it has one.
"""

import difflib
import re
from dataclasses import dataclass

from autoseg.errors import LicenceError


@dataclass(frozen=True)
class Licence:
    """What one licence allows to do with what it covers, and with what is made from it."""

    identifier: str
    """The Hub's identifier, else a name of our own."""
    commercial: bool = True
    """Whether it may be used to earn money."""
    derivatives: bool = True
    """Whether what is made from it may be passed on."""
    public: bool = True
    """Whether it may be passed on to everybody."""
    same_licence: bool = False
    """Whether what is made from it must carry the same licence."""
    attribution: bool = True
    """Whether its authors must be named."""
    on_hub: bool = True
    """Whether the Hub knows the identifier."""
    known: bool = True
    """Whether its terms are known here."""
    link: str = ""
    """Where the text of a licence stands that the Hub does not know."""

    def in_words(self) -> str:
        """The terms in half a sentence, to follow "it"."""
        if not self.known:
            return "has terms that autoseg does not know"
        if not self.public:
            return "reserves all rights, so it may not be passed on to everybody"
        parts = ["allows commercial use" if self.commercial else "forbids commercial use"]
        if not self.derivatives:
            parts.append("forbids passing on what is made from it")
        if self.same_licence:
            parts.append("asks that what is made from it carries the same licence")
        return " and ".join(parts)


def _table(*licences: Licence) -> dict[str, Licence]:
    return {licence.identifier: licence for licence in licences}


_DINOV3 = "https://ai.meta.com/resources/models-and-libraries/dinov3-license"

LICENCES = _table(
    *(
        Licence(name)
        for name in (
            "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "isc",
            "zlib", "ncsa", "bsl-1.0", "afl-3.0", "ecl-2.0", "artistic-2.0", "postgresql", "odc-by",
            "cdla-permissive-1.0", "cdla-permissive-2.0", "etalab-2.0",
        )
    ),
    *(Licence(name, attribution=False) for name in ("cc0-1.0", "pddl", "unlicense", "wtfpl")),
    Licence("0bsd", attribution=False, on_hub=False, link="https://opensource.org/license/0bsd"),
    *(
        Licence(name, same_licence=True)
        for name in (
            "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "mpl-2.0",
            "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "osl-3.0", "ms-pl", "ofl-1.1", "gfdl",
            "odbl", "cdla-sharing-1.0", "openrail", "openrail++", "bigscience-openrail-m",
            "creativeml-openrail-m", "bigcode-openrail-m",
        )
    ),
    Licence("dinov3-license", same_licence=True, on_hub=False, link=_DINOV3),
    Licence("proprietary", commercial=False, derivatives=False, public=False, on_hub=False),
    Licence("unknown", commercial=False, known=False),
)  # fmt: skip
"""Licences by identifier; those of Creative Commons are read from their names."""

PERMISSIVE_LICENCES = frozenset(
    name for name, licence in LICENCES.items() if licence.commercial and not licence.same_licence
) | {"cc-by-4.0"}
"""Licences that allow any use, commercial use included."""

_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa|-nd)?(-\d\.\d)?")

_CREATIVE_COMMONS_ON_HUB = frozenset(
    f"cc-{terms}-{version}.0"
    for terms, versions in {
        "by": "234", "by-sa": "34", "by-nc": "234", "by-nd": "4", "by-nc-nd": "34",
        "by-nc-sa": "234",
    }.items()
    for version in versions
) | {"cc-by-2.5"}  # fmt: skip

_ALIASES = {
    "": "unknown",
    "none": "unknown",
    "other": "unknown",
    "apache": "apache-2.0",
    "apache2": "apache-2.0",
    "apache2.0": "apache-2.0",
    "bsd": "bsd-3-clause",
    "cc0": "cc0-1.0",
    "gpl3": "gpl-3.0",
    "gplv3": "gpl-3.0",
    "gpl-3": "gpl-3.0",
    "agpl": "agpl-3.0",
    "agpl-3": "agpl-3.0",
    "agplv3": "agpl-3.0",
    "private": "proprietary",
    "all-rights-reserved": "proprietary",
}
"""Other ways to write some identifiers."""


def find_licence(name: str) -> Licence:
    """The licence of that name, however it is written: "Apache 2.0", "CC BY-NC 4.0".

    A name that is not in the table gives a licence whose terms are not known.
    """
    slug = re.sub(r"[^a-z0-9.+]+", "-", name.strip().lower()).strip("-")
    slug = _ALIASES.get(slug, slug)
    if slug in LICENCES:
        return LICENCES[slug]
    terms = _CREATIVE_COMMONS.fullmatch(slug)
    if terms is None:
        return Licence(slug or "unknown", commercial=False, on_hub=False, known=False)
    return Licence(
        slug,
        commercial=terms[1] is None,
        derivatives=terms[2] != "-nd",
        same_licence=terms[2] == "-sa",
        on_hub=slug in _CREATIVE_COMMONS_ON_HUB,
        link=f"https://creativecommons.org/licenses/{slug[3:].rpartition('-')[0]}/{terms[3][1:]}/"
        if terms[3]
        else "",
    )


def model_licence(weights_licence: str, data_licence: str | None = None) -> str:
    """The licence of a model made from these weights and data: the stricter of the two.

    Args:
        weights_licence: Licence of the pretrained encoder weights.
        data_licence: Licence of the images and masks; None: they are the user's own.

    Returns:
        One identifier; "A AND B" where both bind and neither includes the other.
    """
    weights = find_licence(weights_licence)
    data = weights if data_licence is None else find_licence(data_licence)
    if _includes(weights, data):
        return weights.identifier
    if _includes(data, weights):
        return data.identifier
    return f"{weights.identifier} AND {data.identifier}"


def check_licences(
    *, weights: str, data: str | None, asked: str | None, public: bool, asked_in: str = ""
) -> str:
    """The licence to write into a model's card, if everything asked for is allowed.

    A part whose terms nobody knows here is no obstacle once the user names the model's licence:
    then it is the user who vouches for it. A licence whose terms nobody knows here cannot be asked
    for where a part has terms to keep.

    Args:
        weights: Licence of the pretrained encoder weights.
        data: Licence of the images and masks; None: they are the user's own.
        asked: Licence the user wants for the model; None: what follows from the parts.
        public: Whether everybody may see the model.
        asked_in: The file that names the licence asked for, if the user did not.

    Raises:
        LicenceError: A part's licence forbids it.
    """
    wanted = None if asked is None else _spelt(asked)
    is_named = wanted is not None and wanted.identifier != "unknown"
    parts = {"the encoder's pretrained weights": find_licence(weights)}
    if data is not None:
        parts["the training data"] = find_licence(data)
    for what, licence in parts.items():
        if public and not (licence.public and licence.derivatives):
            raise LicenceError(
                f"The licence of {what}, {licence.identifier}, {licence.in_words()}. A model "
                f"trained with it cannot be made public: keep the repository private."
            )
        if public and not is_named and not licence.known:
            raise LicenceError(
                f"The licence of {what} is {_told(licence)}, so nobody can tell whether the model "
                f"may be made public. Look it up: if it may, name it, or name the licence of the "
                f"model; if not, keep the repository private."
            )
    licence_of_all = model_licence(weights, data)
    if wanted is not None and wanted.identifier != hub_fields(licence_of_all).get("license_name"):
        return _check_asked(wanted, parts, asked_in)
    if public and " AND " in licence_of_all:
        first, second = licence_of_all.split(" AND ")
        raise LicenceError(
            f"The encoder's pretrained weights come under {first} and the training data under "
            f"{second}; no licence satisfies both. Keep the repository private, or train with "
            f"other weights."
        )
    return licence_of_all


def hub_fields(licence: str) -> dict[str, str]:
    """A licence as the fields of a card's front matter that the Hub knows."""
    if " AND " not in licence:
        found = find_licence(licence)
        if found.on_hub:
            return {"license": found.identifier}
        link = {"license_link": found.link} if found.link else {}
        return {"license": "other", "license_name": found.identifier, **link}
    return {"license": "other", "license_name": licence.lower().replace(" ", "-")}


def _includes(licence: Licence, part: Licence) -> bool:
    """Whether whoever obeys `licence` has obeyed `part` too."""
    if licence.identifier == part.identifier:
        return True
    if part.same_licence or not (part.derivatives and part.public and part.known):
        return False
    return (part.commercial or not licence.commercial) and (
        licence.attribution or not part.attribution
    )


def _keeps(asked: Licence, part: Licence) -> bool:
    """Whether a licence asked for is sure to keep the terms of a part that are known."""
    return _includes(asked, part) and (asked.known or part.commercial)


def _spelt(name: str) -> Licence:
    """The licence of that name, unless it looks like a misspelling of a known one."""
    licence = find_licence(name)
    close = difflib.get_close_matches(licence.identifier, LICENCES, n=1, cutoff=0.8)
    if not licence.known and licence.identifier not in LICENCES and close:
        raise LicenceError(f"There is no licence {name!r} here. Did you mean {close[0]}?")
    return licence


def _check_asked(asked: Licence, parts: dict[str, Licence], asked_in: str) -> str:
    """The licence asked for, if it keeps the terms of every part that are known."""
    for what, part in parts.items():
        if not part.known or _keeps(asked, part):
            continue
        if part.same_licence:
            why = "asks that what is made from it carries the same licence"
        elif not (part.derivatives and part.public):
            why = part.in_words()
        elif not part.commercial:
            why = "forbids commercial use"
        else:
            why = "asks that its authors are named"
        if not asked.known:
            why += ", and autoseg does not know the terms of the other"
        named = f" that {asked_in} names" if asked_in else ""
        way_out = (
            f": then it replaces the one in {asked_in}."
            if asked_in
            else ", or for none: then the one that fits is written."
        )
        raise LicenceError(
            f"The model cannot be given the licence {asked.identifier}{named}: the licence of "
            f"{what}, {part.identifier}, {why}. Ask for {part.identifier}{way_out}"
        )
    return asked.identifier


def _told(licence: Licence) -> str:
    """A licence of unknown terms, for a sentence."""
    if licence.identifier == "unknown":
        return "not known"
    return f"{licence.identifier}, whose terms autoseg does not know"
