from __future__ import annotations

from typing import Self

import pytest
from pydantic import ValidationError, field_validator, model_validator

from napari_physgen.errors import UserError
from napari_physgen.settings import Settings, describe, setting


class Example(Settings):
    na: float = setting(title="NA", description="Aperture.", start=1.4, gt=0, le=1.7)
    rate: float = setting(
        1e-3, title="Rate", description="Learning rate.", tunable=True, ge=1e-5, le=0.1
    )
    steps: int = setting(
        10, title="Steps", description="Most steps.", unit="x", advanced=True, ge=1
    )

    @field_validator("steps")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"an even number of steps is needed, not {value}")
        return value

    @model_validator(mode="after")
    def _not_too_fast(self) -> Self:
        if self.rate * self.steps > 1:
            raise ValueError("this is too fast: lower the rate or the steps")
        return self


def sentence(**values: object) -> str:
    with pytest.raises(UserError) as caught:
        Example.parse(values)
    return str(caught.value)


def test_parsing_fills_in_defaults_and_converts():
    assert Example.parse({"na": 1, "steps": "4"}) == Example(na=1.0, rate=1e-3, steps=4)


def test_a_missing_value_is_asked_for_by_its_title():
    assert sentence() == "NA (na) is needed."


def test_a_value_out_of_bounds_is_named_with_its_bound():
    assert sentence(na=2) == "NA (na): input should be less than or equal to 1.7, got 2."


def test_small_bounds_are_exact():
    """1e-5 is allowed and 9e-6 is not: nothing is rounded on the way."""
    assert Example(na=1, rate=1e-5).rate == 1e-5
    assert sentence(na=1, rate=9e-6).startswith("Rate (rate): input should be greater")


def test_an_unknown_setting_is_named_beside_the_known_ones():
    assert sentence(na=1, speed=2) == ("There is no setting 'speed' (known: na, rate, steps).")


def test_sentences_of_validators_come_through_as_they_are():
    assert sentence(na=1, steps=3) == "An even number of steps is needed, not 3."
    assert sentence(na=1, steps=20, rate=0.1) == "This is too fast: lower the rate or the steps."


def test_several_mistakes_make_one_sentence():
    text = sentence(na="wide", steps=0)
    assert "NA (na)" in text
    assert "; Steps (steps)" in text
    assert text.count(".") == 1


def test_settings_are_frozen_and_strict():
    settings = Example(na=1)
    with pytest.raises(ValidationError):
        settings.na = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Example(na=1, speed=2)  # type: ignore[call-arg]


def test_tuning_makes_a_checked_copy():
    settings = Example(na=1)
    assert settings.tuned(rate=0.01) == Example(na=1, rate=0.01)
    assert settings.rate == 1e-3
    with pytest.raises(UserError, match=r"Rate \(rate\).*0\.1"):
        settings.tuned(rate=5)


@pytest.mark.parametrize("name", ["na", "speed"])
def test_only_tunable_settings_can_be_tuned(name):
    with pytest.raises(UserError, match=f"'{name}' cannot be changed while the job runs"):
        Example(na=1).tuned(**{name: 1})


def test_tuning_keeps_every_other_setting():
    settings = Example(na=1, steps=20, rate=0.002)
    assert settings.tuned(rate=0.003).model_dump() == {"na": 1, "steps": 20, "rate": 0.003}


def test_describe_reads_back_what_was_declared():
    fields = Example.model_fields
    steps = describe("steps", fields["steps"])
    assert (steps.title, steps.text, steps.unit) == ("Steps", "Most steps.", "x")
    assert (steps.advanced, steps.tunable, steps.start) == (True, False, 10)
    assert describe("rate", fields["rate"]).tunable


def test_a_needed_value_starts_where_the_form_says_and_an_optional_one_at_its_default():
    fields = Example.model_fields
    assert describe("na", fields["na"]).start == 1.4
    assert describe("rate", fields["rate"]).start == 1e-3


def test_describe_works_for_a_plain_pydantic_field():
    class Plain(Settings):
        size: int = 3

    plain = describe("size", Plain.model_fields["size"])
    assert (plain.title, plain.unit, plain.advanced, plain.start) == ("size", "", False, 3)
