import pytest

from autoseg.encoders import catalogue
from autoseg.errors import LicenceError
from autoseg.licences import (
    PERMISSIVE_LICENCES,
    check_licences,
    find_licence,
    hub_fields,
    model_licence,
)


def check(weights="apache-2.0", data=None, asked=None, public=False):
    return check_licences(weights=weights, data=data, asked=asked, public=public)


@pytest.mark.parametrize(
    ("written", "identifier"),
    [
        ("Apache 2.0", "apache-2.0"),
        (" MIT ", "mit"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
        ("cc0", "cc0-1.0"),
        ("GPLv3", "gpl-3.0"),
        ("", "unknown"),
        ("Our lab's terms", "our-lab-s-terms"),
    ],
)
def test_a_licence_is_found_however_it_is_written(written, identifier):
    assert find_licence(written).identifier == identifier


def test_the_terms_of_a_creative_commons_licence_are_in_its_name():
    licence = find_licence("cc-by-nc-sa-3.0")
    assert (licence.commercial, licence.derivatives, licence.same_licence) == (False, True, True)
    assert find_licence("cc-by-nd-4.0").derivatives is False
    assert find_licence("cc-by-4.0").commercial is True


def test_every_encoder_of_the_catalogue_has_a_licence_with_known_terms():
    for encoder in catalogue():
        licence = find_licence(encoder.licence)
        assert licence.known, encoder.name
        assert encoder.commercial == (licence.commercial and not licence.same_licence)


def test_permissive_licences_ask_for_nothing_but_a_name():
    for name in PERMISSIVE_LICENCES:
        licence = find_licence(name)
        assert licence.commercial and licence.derivatives and not licence.same_licence, name


@pytest.mark.parametrize(
    ("weights", "data", "expected"),
    [
        ("apache-2.0", None, "apache-2.0"),
        ("mit", "cc-by-4.0", "mit"),
        ("cc0-1.0", "cc-by-4.0", "cc-by-4.0"),
        ("apache-2.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("cc-by-nc-4.0", "apache-2.0", "cc-by-nc-4.0"),
        ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
        ("apache-2.0", "cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("dinov3-license", "mit", "dinov3-license"),
        ("apache-2.0", "proprietary", "proprietary"),
        ("apache-2.0", "unknown", "unknown"),
        ("cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0 AND cc-by-sa-4.0"),
    ],
)
def test_a_model_carries_the_stricter_licence(weights, data, expected):
    assert model_licence(weights, data) == expected


@pytest.mark.parametrize("public", [False, True])
def test_a_licence_that_keeps_the_terms_may_be_asked_for(public):
    assert check(asked="MIT", public=public) == "mit"
    assert check(asked="gpl-3.0", public=public) == "gpl-3.0"
    assert check("cc-by-nc-4.0", asked="cc-by-nc-sa-4.0", public=public) == "cc-by-nc-sa-4.0"
    assert check(data="our-terms", asked="mit", public=public) == "mit"


@pytest.mark.parametrize(
    ("parts", "asked", "why"),
    [
        ({"weights": "cc-by-nc-4.0"}, "apache-2.0", "weights, cc-by-nc-4.0, forbids commercial"),
        ({"data": "cc-by-nc-4.0"}, "mit", "data, cc-by-nc-4.0, forbids commercial use"),
        ({"data": "cc-by-sa-4.0"}, "cc-by-4.0", "carries the same licence"),
        ({"weights": "dinov3-license"}, "apache-2.0", "carries the same licence"),
        ({"weights": "mit"}, "cc0-1.0", "authors are named"),
        ({"data": "proprietary"}, "mit", "reserves all rights"),
    ],
)
def test_a_licence_that_promises_too_much_is_refused(parts, asked, why):
    with pytest.raises(LicenceError, match=f"cannot be given the licence {asked}: .*{why}"):
        check(**parts, asked=asked)


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    "asked",
    "bsl-1.0 ncsa artistic-2.0 bsd-3-clause-clear commercial other unknown our-terms".split(),
)
@pytest.mark.parametrize("parts", [{"weights": "cc-by-nc-4.0"}, {"data": "cc-by-nc-4.0"}])
def test_no_licence_but_a_non_commercial_one_covers_non_commercial_parts(parts, asked, public):
    with pytest.raises(LicenceError, match="forbids commercial use"):
        check(**parts, asked=asked, public=public)


def test_terms_that_nobody_knows_may_be_asked_for_where_the_parts_allow_anything():
    assert check("apache-2.0", "mit", asked="our-terms", public=True) == "our-terms"
    with pytest.raises(LicenceError, match="same licence, and autoseg does not know the terms"):
        check(data="cc-by-sa-4.0", asked="our-terms")


@pytest.mark.parametrize(
    "name",
    "isc zlib ncsa bsl-1.0 ecl-2.0 afl-3.0 artistic-2.0 postgresql 0bsd bsd-3-clause-clear".split(),
)
def test_the_permissive_licences_of_the_hub_are_known(name):
    assert name in PERMISSIVE_LICENCES
    assert check(weights=name, asked="apache-2.0", public=True) == "apache-2.0"


@pytest.mark.parametrize("data", ["proprietary", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"])
@pytest.mark.parametrize("asked", [None, "mit"])
def test_data_that_may_not_be_passed_on_keeps_the_model_private(data, asked):
    with pytest.raises(LicenceError, match=f"{data}, .* keep the repository private"):
        check(data=data, asked=asked, public=True)
    assert check(data=data, public=False) == data


@pytest.mark.parametrize("parts", [{"weights": ""}, {"data": "our-terms"}])
def test_unknown_terms_need_the_users_word_before_a_model_is_public(parts):
    with pytest.raises(LicenceError, match="name the licence of the model"):
        check(**parts, public=True)
    with pytest.raises(LicenceError, match="name the licence of the model"):
        check(**parts, asked="other", public=True)
    assert check(**parts, asked="apache-2.0", public=True) == "apache-2.0"
    check(**parts, public=False)


def test_terms_that_contradict_each_other_keep_the_model_private():
    parts = {"weights": "cc-by-nc-4.0", "data": "cc-by-sa-4.0"}
    with pytest.raises(LicenceError, match="no licence satisfies both"):
        check(**parts, public=True)
    both = "cc-by-nc-4.0-and-cc-by-sa-4.0"
    assert hub_fields(check(**parts))["license_name"] == both
    assert check(**parts, asked=both) == "cc-by-nc-4.0 AND cc-by-sa-4.0"


def test_the_hub_is_told_the_name_and_text_of_a_licence_it_does_not_know():
    assert hub_fields("cc-by-nc-4.0") == {"license": "cc-by-nc-4.0"}
    assert hub_fields("unknown") == {"license": "unknown"}
    fields = hub_fields("dinov3-license")
    assert (fields["license"], fields["license_name"]) == ("other", "dinov3-license")
    assert fields["license_link"].startswith("https://")
    assert hub_fields("cc-by-nd-3.0")["license_link"].endswith("/by-nd/3.0/")


@pytest.mark.parametrize("name", ["apach-2.0", "gpl-30", "bsd-3-claus"])
def test_a_misspelt_licence_is_asked_about_and_not_published(name):
    with pytest.raises(LicenceError, match="Did you mean"):
        check_licences(weights="apache-2.0", data=None, asked=name, public=False)
