"""A customer's life in each of the lifecycles that ship, told in that lifecycle's words."""

from tests.support.engine.story import Story


def test_reach_to_loyalty_attention_is_gained_the_deal_secured_and_a_kept_customer_brings_new_ones() -> None:
    life = Story("reach-to-loyalty")
    life.on(0, "social_engaged").on(2, "ad_clicked")
    assert life.stage == "reach", "word of mouth and advertisements gain attention, no more"
    life.on(5, "page_viewed").on(6, "page_viewed").on(9, "page_viewed")
    assert life.stage == "acquisition", "three visits to the site within a month"
    life.on(12, "demo_booked").on(20, "deal_won")
    assert life.stage == "conversion", "the purchase decision"
    life.on(25, "activated")
    assert life.stage == "retention"
    life.on(30, "survey_answered", score=8).until(58)
    assert life.stalled == 0
    life.until(61)
    assert life.stalled == 1, "no activity for a month"
    life.on(65, "ticket_opened").on(66, "ticket_resolved")
    assert life.stalled == 0
    life.on(80, "referral_made")
    assert life.stage == "loyalty"
    assert life.since_last() == [
        "enter reach: first touchpoint",
        "advance acquisition: keeps visiting the site",
        "advance conversion: decided to buy",
        "advance retention: is looked after and answers",
        "stalled in retention, level 1",
        "recovered in retention",
        "advance loyalty: brings in new customers",
    ]
    life.on(100, "complaint_made")
    assert life.stage == "retention", "a loyal customer with a problem must be kept again"


def test_reach_to_loyalty_a_customer_who_leaves_considers_the_offer_anew_and_is_forgotten_in_the_end() -> None:
    life = Story("reach-to-loyalty").on(0, "purchased").on(10, "activated").on(40, "cancelled")
    assert life.stage == "acquisition"
    life.until(40 + 90)
    assert life.stage == "reach"
    assert life.since_last()[-3:] == [
        "stalled in acquisition, level 1",
        "stalled in acquisition, level 2",
        "lapse reach: no activity for 90d",
    ]


def test_courtship_a_commitment_goes_stale_when_the_scheduled_meetings_are_not_held() -> None:
    life = Story("courtship").on(0, "form_submitted")
    assert life.stage == "courting"
    life.on(10, "deal_won")
    assert life.stage == "contract", "the first date: one piece of work"
    life.on(30, "purchased")
    assert life.stage == "continuation", "going steady"
    life.on(40, "meeting_held").on(55, "call_held").on(60, "purchased").on(70, "meeting_held")
    assert life.stage == "commitment"
    life.on(100, "meeting_held")
    life.since_last()
    life.on(125, "meeting_scheduled").on(130, "meeting_missed").on(150, "email_opened", "page_viewed", "feature_used")
    assert life.stage == "commitment"
    life.until(160)
    assert life.since_last() == ["stalled in commitment, level 1"], "scheduled, missed, watched from afar: never met"
    life.on(165, "meeting_held")
    assert life.since_last() == ["recovered in commitment"]


def test_courtship_missed_meetings_count_against_a_commitment() -> None:
    life = Story("courtship").on(0, "deal_won").on(5, "renewed").on(9, "renewed")
    assert life.stage == "commitment"
    life.on(20, "meeting_missed").on(50, "meeting_missed")
    assert life.stage == "continuation"
    assert life.since_last()[-1] == "regress continuation: keeps missing meetings"


def test_courtship_two_plans_become_one_and_a_better_offer_still_ends_it() -> None:
    life = Story("courtship").on(0, "deal_won").on(5, "renewed").on(9, "renewed")
    for day in (20, 40, 60, 80):
        life.on(day, "meeting_held")
    life.on(90, "renewed")
    assert life.stage == "convergence"
    life.on(100, "cancelled")
    assert life.stage == "courting"


def test_courtship_patience_rises_as_the_risk_of_leaving_falls() -> None:
    life = Story("courtship")
    stages = life.fold.timeline.newest.stages.values()
    patience = [stage.stalls[0] for stage in stages]
    assert patience == sorted(patience)
    assert len(set(patience)) == len(patience)


def test_focus_cycle_a_prospect_converts_after_six_to_eight_touchpoints() -> None:
    patient = Story("focus-cycle").on(0, "contacted").on(3, "email_opened").on(5, "contacted").on(9, "page_viewed")
    patient.on(12, "contacted").on(13, "email_opened").on(14, "contacted")
    assert patient.stage == "relationships", "seven touchpoints without a word of interest"
    patient.on(15, "email_opened")
    assert patient.stage == "research", "the eighth"
    eager = Story("focus-cycle").on(0, "page_viewed").on(1, "email_clicked").on(2, "contacted").on(3, "contacted")
    eager.on(4, "page_viewed")
    assert eager.stage == "relationships"
    eager.on(5, "contacted")
    assert eager.stage == "research", "six touchpoints, of which one showed interest"
    assert Story("focus-cycle").on(0, "page_viewed").on(1, "call_held").stage == "research", "a first call converts"


def test_focus_cycle_eight_unanswered_letters_convert_nobody() -> None:
    life = Story("focus-cycle")
    for day in range(10):
        life.on(day, "contacted")
    assert life.stage == "relationships"


def test_focus_cycle_we_contact_them_first_and_feedback_asked_for_begins_the_cycle_again() -> None:
    life = Story("focus-cycle").on(0, "meeting_held")
    assert life.stage == "research"
    life.on(5, "ticket_opened")
    assert life.stage == "research", "they asked before we did"
    life.on(6, "contacted", source="notifier")
    assert life.stage == "research", "what a play sends is no move of ours"
    life.on(7, "contacted")
    assert life.stage == "align", "of our own accord"
    life.on(20, "deal_won")
    assert life.stage == "renew"
    life.on(25, "survey_answered", score=9)
    assert life.stage == "renew", "no feedback was requested yet"
    life.on(26, "feedback_asked")
    assert life.stage == "relationships"
    assert life.since_last()[-1] == "renew relationships: good feedback, asked for"


def test_focus_cycle_a_bad_result_goes_back_to_expectations() -> None:
    life = Story("focus-cycle").on(0, "call_held").on(1, "contacted").on(9, "purchased").on(10, "feedback_asked")
    life.on(12, "survey_answered", score=4)
    assert life.stage == "align"


def test_journey_goes_round_its_circle() -> None:
    life = Story("journey").on(0, "page_viewed").on(1, "email_clicked").on(8, "checkout_started").on(8.5, "purchased")
    assert life.stage == "use"
    for day in range(10, 20):
        life.on(day, "feature_used")
    assert life.stage == "engage"
    life.on(40, "page_viewed").on(41, "page_viewed").on(42, "ad_clicked")
    assert life.since_last()[1:] == [
        "advance learn: wants to know more",
        "advance choose: comes down to a choice",
        "advance use: chose us",
        "advance engage: uses it all the time",
        "renew discover: discovers something new",
    ]


def test_journey_barriers_make_customers_drop_out_and_the_lapse_says_where() -> None:
    life = Story("journey").on(0, "checkout_started").until(100)
    assert life.since_last()[1:5] == [
        "advance choose: knows what they want",
        "stalled in choose, level 1",
        "stalled in choose, level 2",
        "lapse discover: no activity for 45d",
    ]
    assert Story("journey").on(0, "purchased").on(3, "refunded").stage == "discover"


def test_experience_one_setback_turns_an_ambassador_into_a_detractor() -> None:
    life = Story("experience").on(0, "page_viewed").on(2, "content_downloaded")
    assert life.stage == "interested", "from just browsing to genuine interest"
    life.on(9, "purchased").on(30, "survey_answered", score=7)
    assert life.stage == "committed", "seven and eight are passive"
    life.on(60, "survey_answered", score=9)
    assert life.stage == "ambassador"
    life.on(70, "complaint_made")
    assert life.stage == "detractor"
    life.until(73)
    assert life.stalled == 1, "the tactical actions are called for within days"
    life.on(74, "ticket_resolved").on(76, "survey_answered", score=8)
    assert life.stage == "committed"
    assert life.since_last()[-4:] == [
        "regress detractor: one setback",
        "stalled in detractor, level 1",
        "recovered in detractor",
        "advance committed: was heard",
    ]


def test_experience_a_score_of_zero_to_six_detracts_from_any_stage() -> None:
    for score in (0, 6):
        life = Story("experience").on(0, "purchased").on(1, "survey_answered", score=score)
        assert life.stage == "detractor"
    assert Story("experience").on(0, "purchased").on(1, "survey_answered", score="6").stage == "committed"


def test_experience_a_single_complaint_of_a_committed_customer_is_no_setback_yet() -> None:
    life = Story("experience").on(0, "purchased").on(10, "complaint_made")
    assert life.stage == "committed"
    life.on(30, "complaint_made")
    assert life.stage == "detractor"


def test_service_cycle_from_awareness_to_advocacy_and_back_after_a_bad_survey() -> None:
    life = Story("service-cycle").on(0, "email_clicked").on(3, "content_downloaded").on(5, "email_clicked")
    assert life.stage == "acquisition", "asked for information, in whatever order"
    life.on(15, "purchased")
    assert life.stage == "nurture"
    for day in range(16, 21):
        life.on(day, "feature_used")
    assert life.stage == "retention"
    life.on(40, "testimonial_given")
    assert life.stage == "advocacy"
    life.on(50, "survey_answered", score=2)
    assert life.since_last()[-1] == "regress retention: a bad survey"
    life.on(51, "survey_answered", score=2).on(52, "survey_answered", score=2).on(53, "survey_answered", score=2)
    life.on(54, "survey_answered", score=2)
    assert life.stage == "reach", "and no further back than that"


def test_every_lifecycle_takes_a_manual_move_to_any_of_its_stages() -> None:
    for name in ("reach-to-loyalty", "courtship", "focus-cycle", "journey", "experience", "service-cycle"):
        stages = list(Story(name).fold.timeline.newest.stages)
        for stage in stages:
            assert Story(name).on(0, "stage_set", lifecycle=name, stage=stage, reason="import").stage == stage
