from datetime import timedelta

from touchline_ingest.core.access.used_tokens import UsedTokens


def test_a_token_serves_once_for_as_long_as_its_timestamp_is_good(configured, now):
    used, config = UsedTokens(), configured("mailgun", "key")
    assert used.claim(config, ("a",), now)
    assert not used.claim(config, ("a",), now + timedelta(minutes=10))
    assert used.claim(config, ("b",), now)


def test_a_claim_takes_all_tokens_or_none(configured, now):
    used, config = UsedTokens(), configured("mailgun", "key")
    assert used.claim(config, ("a",), now)
    assert not used.claim(config, ("b", "a"), now)
    assert used.claim(config, ("b",), now)


def test_what_could_not_be_published_can_be_sent_again(configured, now):
    used, config = UsedTokens(), configured("mailgun", "key")
    assert used.claim(config, ("a",), now)
    used.release(config, ("a",))
    assert used.claim(config, ("a",), now)


def test_tokens_are_forgotten_when_their_timestamps_are_too_old_anyway(configured, now):
    used, config = UsedTokens(), configured("mailgun", "key")
    for number in range(100):
        assert used.claim(config, (str(number),), now)
    assert used.claim(config, ("later",), now + timedelta(minutes=11))
    assert len(used) == 1


def test_a_longer_tolerance_is_remembered_longer(configured, now):
    used, config = UsedTokens(), configured("mailgun", "key", tolerance_seconds=3600)
    assert used.claim(config, ("a",), now)
    assert not used.claim(config, ("a",), now + timedelta(minutes=59))
