"""Numbers for all that a scenario is about, and what the numbers in a state mean.

A state of numbers is quick to compare, to hash and to keep.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from device_lockout.aws import command_queue
from device_lockout.decisions.decision import DESCRIPTION_LOST
from device_lockout.inbound import report
from device_lockout.values import tag
from device_lockout.values.command import Cause, Command, Expire, Reject, Target, command_id
from device_lockout.values.device import DeviceKey
from device_lockout.values.override import Override
from device_lockout.values.settings import Settings
from verify.scenario import OWNER, SERIAL, START, Policy, Scenario, at, organization_of, place, user_name
from verify.state import LockId, State, ViolationError, lock_id


class Numbering:
    """The numbers of one scenario.

    Devices, users, events and message groups are numbered from 0.
    All other values share one numbering, in which 0 is None.

    Attributes:
        scenario: The scenario.
        values: Each value by its number.
        keys: The devices.
        device_numbers: The number of each device.
        users: Each user's ID, which says so in the other organization, and the serial numbers.
        name: The kind and the value of the name in the inventory that the scenario is about, if any.
        organizations: The organizations that have devices.
        user_numbers: The number of each user.
        user_of: The user of each device.
        events: The events, copies included.
        event_users: The user of each event.
        commands: The command of each event, or what the router ought to make of it.
        moving: The events by a mail address that another user may get.
        by_name: The event of each name.
        by_command_id: The event of each command ID; of copies, the first one.
        by_lock: The event of each lock; of copies, the first one.
        devices_in: The devices of each message group.
        users_in: The users of each message group.
        seconds: The seconds that the clock shows.
        edited_to: The ends that people may write.
        any_row: What a person put unseen between our read and our write.
        lost_row: The ``ALLOW`` that takes the place of a lost one.
    """

    def __init__(self, scenario: Scenario, settings: Sequence[Settings]) -> None:
        self.scenario = scenario
        self._settings = settings
        self.values: list[Any] = [None]
        self._numbers: dict[Any, int] = {None: 0}
        self.any_row = self.number("any override")
        self.lost_row = self.number(Override("ALLOW", DESCRIPTION_LOST))
        self.seconds = scenario.instants
        self.edited_to = frozenset(at(act.until) for act in scenario.acts if act.kind == "edit")

        self.keys = [DeviceKey(organization_of(user), user_name(user), device) for user, device in scenario.devices]
        self.organizations = sorted({key.organization for key in self.keys})
        self.device_numbers = {key: number for number, key in enumerate(self.keys)}
        users = {place(key.organization, key.user_id) for key in self.keys}
        numbers = {
            place(each, SERIAL) for each in self.organizations if any(e.command.target.names for e in scenario.events)
        }
        self.users = sorted(
            users | numbers | {place(organization_of(e.user), user_name(e.user)) for e in scenario.events}
        )
        self.user_numbers = {user: number for number, user in enumerate(self.users)}
        self.user_of = [self.user_numbers[place(key.organization, key.user_id)] for key in self.keys]

        self.events = scenario.events
        self.name = next(((n.kind, n.value) for e in self.events if e.gives_name for n in e.command.target.names), None)
        self.event_users = [self.user_numbers[place(organization_of(e.user), user_name(e.user))] for e in self.events]
        self.commands = [self.number(event.command) for event in self.events]
        moves = any(act.kind in ("rename", "inherit") for act in scenario.acts)
        self.moving = {
            number: event for number, event in enumerate(self.events) if moves and "@" in event.command.target.user
        }
        self.by_name: dict[str, int] = {}
        self.by_command_id: dict[str, int] = {}
        self.by_lock: dict[LockId, int] = {}
        for number, event in enumerate(self.events):
            self.by_name.setdefault(event.name, number)
            self.by_command_id.setdefault(command_id(event.command), number)
            if event.claim is not None:
                self.by_lock.setdefault(lock_id(event.claim), number)
            if event.change is not None:
                for why in settings[0].reasons:
                    self.by_lock.setdefault((event.change.claim.id, why), number)

        self._group_names: dict[str, int] = {}
        self._groups: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._copies: dict[int, int] = {}
        self._read: dict[tuple[int, int, int], int] = {}
        self._readings: dict[int, tag.Reading | None] = {}
        self.devices_in: dict[int, list[int]] = {}
        self.users_in: dict[int, list[int]] = {}
        for number, key in enumerate(self.keys):
            self.devices_in.setdefault(self._group_of(_command_for(key)), []).append(number)
        names = [event.command.target.user for event in self.events]
        for event, user in zip(self.events, self.event_users, strict=True):
            group = self._group_of(event.command)
            # Several groups write the item of a user with several names.
            if event.device < 0 and "@" not in "".join(names) and user not in self.users_in.setdefault(group, []):
                self.users_in[group].append(user)

    def number(self, value: Any) -> int:
        """Return the number of ``value``, a new one for a new value."""
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known

    def command_at(self, event: int, clock: int, policy: int) -> int:
        """Return the command of an event that arrives now. The router reads each copy anew.

        Raises:
            ViolationError: It rejects what is allowed, or takes what is not.
        """
        about = self.events[event]
        if not about.body:
            return self.commands[event]
        known = self._read.get((event, clock, policy))
        if known is None:
            (read,) = report.read(about.body, about.name, at(self.seconds[clock]), self._settings[policy])
            old = self.seconds[clock] - about.at > self.scenario.max_event_age
            taken = not isinstance(about.command, Reject) and self.scenario.policies[policy].takes(about)
            if len(self.scenario.policies) > 1 and isinstance(read, Reject) == (taken and not old):
                raise ViolationError(f"the router makes {type(read).__name__} of {about.name}")
            known = self._read[event, clock, policy] = self.number(read)
        return known

    @property
    def groups(self) -> int:
        """How many message groups there are so far."""
        return len(self._group_names)

    def group(self, command: int) -> int:
        """Return the message group of a command."""
        known = self._groups.get(command)
        if known is None:
            known = self._groups[command] = self._group_of(self.values[command])
        return known

    def _group_of(self, command: Command) -> int:
        return self._group_names.setdefault(_queue_name("group_id", command), len(self._group_names))

    def copy_of(self, command: int) -> int:
        """Return a number that only a command and its copies in the queue have."""
        known = self._copies.get(command)
        if known is None:
            sent: Command = self.values[command]
            known = self.number((_queue_name("group_id", sent), _queue_name("command_id", sent)))
            self._copies[command] = known
        return known

    def event(self, command: int) -> int:
        """Return the event of a command; -1 for a command that no event asked for."""
        known = self._events.get(command)
        if known is None:
            known = self._events[command] = self.by_command_id.get(command_id(self.values[command]), -1)
        return known

    def is_about(self, state: State, event: int, device: int) -> bool:
        """Whether an event asks for something of a device or of its user. By a name that moves, the ledger says so."""
        of_device = self.events[event].device >= 0
        place = device if of_device else self.user_of[device]
        if event in self.moving:
            return bool(state.meant[event] >> place & 1)
        return place == (self.events[event].device if of_device else self.event_users[event])

    def is_taken(self, state: State, event: int) -> bool:
        """Whether the router took an event, or a copy of it, when it arrived."""
        about = self.events[event]
        if not about.body or len(self.scenario.policies) == 1:
            return True
        arrived = (n for n, e in enumerate(self.events) if e.name == about.name or e.copy_of == about.name)
        return any(self.policy_of(state, n).takes(about) for n in arrived if not state.pending >> n & 1)

    def policy_of(self, state: State, event: int) -> Policy:
        """Return the policy that held when an event arrived."""
        return self.scenario.policies[state.read[event]]

    def device_of(self, state: State, event: int) -> int:
        """Return the device of an event; -1 if it has none, or if its name led to none or to several."""
        meant = state.meant[event]
        if event not in self.moving or self.events[event].device < 0:
            return self.events[event].device
        return meant.bit_length() - 1 if meant.bit_count() == 1 else -1

    def reading(self, row: int) -> tag.Reading | None:
        """Return what an override's description says; None for no override."""
        if row not in self._readings:
            override = self.values[row]
            self._readings[row] = tag.read(override.description, OWNER) if isinstance(override, Override) else None
        return self._readings[row]

    def now(self, state: State) -> datetime:
        return at(self.seconds[state.clock])


def _queue_name(kind: str, command: Command) -> str:
    """Ask the queue's gateway for a group or deduplication ID. A break may have replaced its functions."""
    name: str = getattr(command_queue, kind)(command)
    return name


def _command_for(key: DeviceKey) -> Command:
    return Expire(Cause("", "", "", START, START), Target.of(key), Override("DENY"))
