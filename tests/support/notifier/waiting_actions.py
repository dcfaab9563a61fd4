"""Actions that wait in the tables of a notifier that has ended."""

from collections.abc import Sequence

from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier.world import World

PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention]}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
limits: {max_age: 10d}
"""


async def leave_waiting_actions(world: World, receiver: WebhookReceiver, customers: Sequence[str]) -> None:
    """One action of each customer, to be sent by the next notifier that may send."""
    world.crm(receiver)
    world.play(PLAY)
    notifier = await world.start(TOUCHLINE_SENDING="false").ready()
    for customer in customers:
        await world.moved(customer, "retention")
        await world.stalled(customer)
    await world.await_actions(len(customers), "held")
    assert notifier.stop() == 0
