"""The operations on the state: AWS's documented semantics, with quirks where the documentation leaves questions open.

The sources are botocore's model of workmail 2017-10-01 and the API reference:
https://docs.aws.amazon.com/workmail/latest/APIReference/API_Operations.html

Four assumptions fill what neither says:

- A disabled user's overrides can be read and deleted. Only Put needs an enabled user.
- DescribeUser finds a deleted user by ID.
- The prefixes of ListUsers ignore case.
- ListUsers returns users in order of their IDs.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from local.account import ACCOUNT, REGION
from local.workmail.errors import WorkMailError
from local.workmail.organizations import CONDITIONS, Organization, Rule, User
from local.workmail.overrides import Override
from local.workmail.page_tokens import Position, seal, unseal
from local.workmail.settings import Quirks
from local.workmail.shapes import complaint, request_check

type Json = dict[str, Any]
type Request = Mapping[str, Any]

_DESCRIPTION_LIMIT = 256


def seconds(now: datetime) -> float:
    """Return an instant in seconds since 1970 to the millisecond, as in the protocol."""
    return round(now.timestamp(), 3)


class WorkMail:
    """The state and the operations on it.

    ARNs have `account` and `region`. `quirks` can be replaced at any time.
    """

    def __init__(self, account: str = ACCOUNT, region: str = REGION) -> None:
        self.account = account
        self.region = region
        self.quirks = Quirks()
        self.organizations: dict[str, Organization] = {}
        self._served: dict[str, Callable[[Request, float], Json]] = {
            "PutMobileDeviceAccessOverride": self._put_override,
            "GetMobileDeviceAccessOverride": self._get_override,
            "DeleteMobileDeviceAccessOverride": self._delete_override,
            "ListMobileDeviceAccessOverrides": self._list_overrides,
            "DescribeUser": self._describe_user,
            "ListUsers": self._list_users,
            "DescribeOrganization": self._describe_organization,
            "ListOrganizations": self._list_organizations,
            "ListMobileDeviceAccessRules": self._list_rules,
            "GetMobileDeviceAccessEffect": self._get_effect,
        }
        self._checks = {name: request_check(name) for name in self._served}

    @property
    def served(self) -> Iterable[str]:
        """The names of the operations that it has."""
        return self._served.keys()

    def call(self, name: str, request: Request, now: datetime) -> Json:
        """Return the answer of a served operation. Raises WorkMailError with a code of that operation."""
        complaints: list[str] = []
        self._checks[name](request, "", complaints)
        if complaints:
            found = f"{len(complaints)} validation error{'s' if len(complaints) > 1 else ''} detected"
            raise WorkMailError("InvalidParameterException", f"{found}: {'; '.join(complaints)}")
        return self._served[name](request, seconds(now))

    def find_user(self, organization_id: object, identity: object) -> User | None:
        """Find the user of a request, deleted or not. The request may be wrong in any way."""
        organization = self.organizations.get(organization_id) if isinstance(organization_id, str) else None
        if organization is None or not isinstance(identity, str):
            return None
        return organization.user(identity, aliases=self.quirks.aliases_resolve)

    # --- the four override operations -----------------------------------------------------------------------------

    def _put_override(self, request: Request, now: float) -> Json:
        description = request.get("Description")
        self._check_description(description)
        organization = self._organization(request)
        user = self._user(organization, request["UserId"])
        if user.state != "ENABLED":
            raise WorkMailError(
                "EntityStateException",
                f"User {user.name} ({user.user_id}) is {user.state}; expected an ENABLED user",
            )
        device, effect = request["DeviceId"], request["Effect"]
        key = (user.user_id, device.lower())
        before = organization.overrides.get(key)
        created = modified = described = now
        if before is not None:
            created = before.created
            if description is None and self.quirks.put_without_description == "keeps":
                description = before.description
            if description == before.description:
                described = before.described
                if effect == before.effect and not self.quirks.identical_put_moves_date:
                    modified = before.modified
            if self.quirks.device_id_case == "first_put":
                device = before.device
        override = Override(user.user_id, device, effect, description, created, modified, described)
        organization.overrides.put(key, override, now, self.quirks.list_delay_seconds)
        return {}

    def _get_override(self, request: Request, _now: float) -> Json:
        organization = self._organization(request)
        user = self._user(organization, request["UserId"])
        override = organization.overrides.get((user.user_id, request["DeviceId"].lower()))
        if override is None:
            raise WorkMailError(
                "ResourceNotFoundException",
                f"No mobile device access override for user {user.user_id} and device {request['DeviceId']}",
            )
        answer = self._shown(override)
        if self.quirks.get_date_modified == "description":
            answer["DateModified"] = override.described
        return answer

    def _delete_override(self, request: Request, now: float) -> Json:
        organization = self._organization(request)
        user = self._user(organization, request["UserId"])
        key = (user.user_id, request["DeviceId"].lower())
        organization.overrides.remove(key, now, self.quirks.list_delay_seconds)
        return {}

    def _list_overrides(self, request: Request, now: float) -> Json:
        organization = self._organization(request)
        overrides = organization.overrides
        identity, device_id, token = request.get("UserId"), request.get("DeviceId"), request.get("NextToken")
        user = None if identity is None else self._user(organization, identity).user_id
        device = None if device_id is None else device_id.lower()
        listing = ("ListMobileDeviceAccessOverrides", organization.organization_id, user, device)
        position = None if token is None else self._still_valid(unseal(token, listing), overrides.removals, token)
        if position is None:
            rows = overrides.listed(user, device, None, now)
        elif self.quirks.page_tokens == "skip":
            rows = overrides.listed_from(user, device, position.offset, now)
        else:
            rows = overrides.listed(user, device, (position.last[0], position.last[1]), now)
        size = request.get("MaxResults") or self.quirks.default_page_size
        page = list(islice(rows, size + 1))
        answer: Json = {"Overrides": [self._shown(override) for override in page[:size]]}
        if len(page) > size:
            last = (page[size - 1].user, page[size - 1].device.lower())
            offset = (position.offset if position else 0) + size
            answer["NextToken"] = seal(Position(last, offset, overrides.removals), listing)
        return answer

    def _still_valid(self, position: Position, removals: int, token: str) -> Position | None:
        """Return where a listing goes on after deletes, None for the start."""
        if position.removals == removals or self.quirks.page_tokens in ("survive", "skip"):
            return position
        if self.quirks.page_tokens == "restart":
            return None
        raise WorkMailError(
            "InvalidParameterException",
            f"Value '{token}' at 'NextToken' is no longer valid: overrides were deleted; start the listing again",
        )

    def _shown(self, override: Override) -> Json:
        device = override.device
        if self.quirks.device_id_case == "upper":
            device = device.upper()
        elif self.quirks.device_id_case == "lower":
            device = device.lower()
        answer: Json = {"UserId": override.user, "DeviceId": device, "Effect": override.effect}
        if override.description is not None:
            answer["Description"] = override.description
        answer["DateCreated"] = override.created
        answer["DateModified"] = override.modified
        return answer

    def _check_description(self, description: str | None) -> None:
        unit = self.quirks.description_limit
        if description is None or unit == "characters":
            return
        size = len(description.encode()) if unit == "bytes" else len(description.encode("utf-16-le")) // 2
        if size > _DESCRIPTION_LIMIT:
            what = "bytes" if unit == "bytes" else "UTF-16 code units"
            limit = f"Member must have length less than or equal to {_DESCRIPTION_LIMIT} {what}"
            message = f"1 validation error detected: {complaint(description, 'Description', limit)}"
            raise WorkMailError("InvalidParameterException", message)

    # --- users and organizations ----------------------------------------------------------------------------------

    def _describe_user(self, request: Request, _now: float) -> Json:
        organization = self._organization(request)
        user = organization.user(request["UserId"], aliases=self.quirks.aliases_resolve)
        if user is None:
            raise _no_such_user(organization, request["UserId"])
        return _present(
            UserId=user.user_id,
            Name=user.name,
            Email=user.email,
            DisplayName=user.display_name,
            State=user.state,
            UserRole=user.role,
            EnabledDate=user.enabled,
            DisabledDate=user.disabled,
            MailboxProvisionedDate=user.enabled,
            HiddenFromGlobalAddressList=False,
            IdentityProviderUserId=user.identity_provider_user_id,
        )

    def _list_users(self, request: Request, _now: float) -> Json:
        organization = self._organization(request)
        filters = request.get("Filters") or {}
        wanted = {name: value.lower() for name, value in filters.items() if isinstance(value, str)}

        def matches(user: User) -> bool:
            return (
                user.name.lower().startswith(wanted.get("UsernamePrefix", ""))
                and user.display_name.lower().startswith(wanted.get("DisplayNamePrefix", ""))
                and (user.email or "").lower().startswith(wanted.get("PrimaryEmailPrefix", ""))
                and user.state.lower() == wanted.get("State", user.state.lower())
                and (user.identity_provider_user_id or "")
                .lower()
                .startswith(wanted.get("IdentityProviderUserIdPrefix", ""))
            )

        listing = ("ListUsers", organization.organization_id, tuple(sorted(wanted.items())))
        last = unseal(request["NextToken"], listing).last[0] if request.get("NextToken") is not None else ""
        size = request.get("MaxResults") or self.quirks.default_page_size
        page = list(islice(filter(matches, organization.users_after(last)), size + 1))
        rows = [
            _present(
                Id=user.user_id,
                Email=user.email,
                Name=user.name,
                DisplayName=user.display_name,
                State=user.state,
                UserRole=user.role,
                EnabledDate=user.enabled,
                DisabledDate=user.disabled,
                IdentityProviderUserId=user.identity_provider_user_id,
            )
            for user in page[:size]
        ]
        answer: Json = {"Users": rows}
        if len(page) > size:
            answer["NextToken"] = seal(Position((page[size - 1].user_id.lower(),)), listing)
        return answer

    def _describe_organization(self, request: Request, _now: float) -> Json:
        organization = self._known_organization(request)
        return _present(
            OrganizationId=organization.organization_id,
            Alias=organization.alias,
            State=organization.state,
            DirectoryId=organization.directory_id,
            DirectoryType="SimpleAD",
            DefaultMailDomain=organization.mail_domain,
            CompletedDate=organization.completed,
            ARN=f"arn:aws:workmail:{self.region}:{self.account}:organization/{organization.organization_id}",
            InteroperabilityEnabled=False,
        )

    def _list_organizations(self, request: Request, _now: float) -> Json:
        listing = ("ListOrganizations",)
        last = unseal(request["NextToken"], listing).last[0] if request.get("NextToken") is not None else ""
        size = request.get("MaxResults") or self.quirks.default_page_size
        page = sorted(name for name in self.organizations if name > last)[: size + 1]
        rows = [
            _present(
                OrganizationId=organization.organization_id,
                Alias=organization.alias,
                DefaultMailDomain=organization.mail_domain,
                State=organization.state,
            )
            for organization in (self.organizations[name] for name in page[:size])
        ]
        answer: Json = {"OrganizationSummaries": rows}
        if len(page) > size:
            answer["NextToken"] = seal(Position((page[size - 1],)), listing)
        return answer

    # --- access rules ---------------------------------------------------------------------------------------------

    def _list_rules(self, request: Request, _now: float) -> Json:
        return {"Rules": [_rule(rule) for rule in self._organization(request).rules]}

    def _get_effect(self, request: Request, _now: float) -> Json:
        """A matching DENY wins over any matching ALLOW. Without a match, access is denied."""
        device = {name: request[name] for name in CONDITIONS.values() if request.get(name) is not None}
        matching = [rule for rule in self._organization(request).rules if rule.matches(device)]
        effect = "ALLOW" if matching and all(rule.effect == "ALLOW" for rule in matching) else "DENY"
        decisive = [rule for rule in matching if rule.effect == effect]
        return {
            "Effect": effect,
            "MatchedRules": [{"MobileDeviceAccessRuleId": rule.rule_id, "Name": rule.name} for rule in decisive],
        }

    # --- organization and user ----------------------------------------------------------------------------------------

    def _known_organization(self, request: Request) -> Organization:
        organization = self.organizations.get(request["OrganizationId"])
        if organization is None:
            raise WorkMailError(
                "OrganizationNotFoundException", f"There is no organization {request['OrganizationId']} in this account"
            )
        return organization

    def _organization(self, request: Request) -> Organization:
        organization = self._known_organization(request)
        if not organization.active:
            raise WorkMailError(
                "OrganizationStateException",
                f"Organization {organization.organization_id} is {organization.state}; expected an Active one",
            )
        return organization

    def _user(self, organization: Organization, identity: str) -> User:
        user = organization.user(identity, aliases=self.quirks.aliases_resolve)
        if user is None or (user.state == "DELETED" and not self.quirks.deleted_user_by_id):
            raise _no_such_user(organization, identity)
        return user


def _no_such_user(organization: Organization, identity: str) -> WorkMailError:
    return WorkMailError(
        "EntityNotFoundException",
        f"There is no user {identity} in organization {organization.organization_id}",
    )


def _present(**members: object) -> Json:
    return {name: value for name, value in members.items() if value is not None}


def _rule(rule: Rule) -> Json:
    return _present(
        MobileDeviceAccessRuleId=rule.rule_id,
        Name=rule.name,
        Description=rule.description,
        Effect=rule.effect,
        **rule.conditions,
        DateCreated=rule.created,
        DateModified=rule.modified,
    )
