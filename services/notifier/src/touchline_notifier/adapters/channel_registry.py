"""The channels: built-in ones, and those that installed packages add through the entry point group
``touchline.channels`` (name → a class without constructor arguments).
"""

from collections.abc import Iterable
from importlib.metadata import entry_points

from touchline_runtime.errors import ConfigurationError

from touchline_notifier.core.delivery.channel import Channel

GROUP = "touchline.channels"


def load_channels(own: Iterable[Channel]) -> dict[str, Channel]:
    """All channels by name.

    Raises:
        ConfigurationError: an installed channel can't be loaded, is no channel, or takes a name that is taken.
    """
    channels = {channel.name: channel for channel in own}
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.value
        try:
            channel = entry.load()()
        except Exception as error:
            raise ConfigurationError(
                f"the channel {entry.name!r} of {package} can't be loaded ({type(error).__name__}: {error}): "
                "fix or uninstall that package"
            ) from error
        if not isinstance(channel, Channel):
            raise ConfigurationError(
                f"the channel {entry.name!r} of {package} is no channel: it needs name, needs_address, check, send "
                "and close (touchline_notifier.core.delivery.channel.Channel)"
            )
        if channel.name != entry.name:
            raise ConfigurationError(
                f"the entry point {entry.name!r} of {package} gives a channel named {channel.name!r}: they must agree"
            )
        if channel.name in channels:
            raise ConfigurationError(f"two channels are named {channel.name!r}: uninstall or rename that of {package}")
        channels[channel.name] = channel
    return channels
