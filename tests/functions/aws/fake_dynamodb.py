"""DynamoDB in memory, for the tests of the ledger and of the handlers."""

# ruff: noqa: ARG002, N803 (a fake client takes the client's arguments)

import re

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

deserialize = TypeDeserializer().deserialize


class FakeDynamoDB:
    """A DynamoDB client over a dict. It knows the expressions of the ledger. A page of a query holds one item."""

    def __init__(self, table_id="c0ffee00-0000-4000-8000-000000000000"):
        self.items = {}
        self.id = table_id

    def describe_table(self, TableName):
        return {"Table": {"TableId": self.id}}

    def get_item(self, TableName, Key, ConsistentRead):
        item = self.items.get(self._key(Key))
        return {"Item": item} if item else {}

    def put_item(self, TableName, Item, ConditionExpression="", ExpressionAttributeValues=None, **_):
        key = self._key(Item)
        self._check(ConditionExpression, self.items.get(key, {}), {"pk": "pk"}, ExpressionAttributeValues or {})
        self.items[key] = Item
        return {}

    def update_item(
        self,
        TableName,
        Key,
        UpdateExpression,
        ExpressionAttributeNames,
        ExpressionAttributeValues,
        ConditionExpression="",
        **_,
    ):
        key = self._key(Key)
        before = self.items.get(key, {})
        self._check(ConditionExpression, before, ExpressionAttributeNames, ExpressionAttributeValues)
        after = {**before, **Key}
        added, _, assigned = UpdateExpression.rpartition("SET ")
        for name, value in re.findall(r"ADD (#\w+) (:\w+)", added):
            attribute = ExpressionAttributeNames[name]
            ((kind, members),) = ExpressionAttributeValues[value].items()
            after[attribute] = {kind: sorted({*members, *before.get(attribute, {}).get(kind, ())})}
        for change in assigned.split(", #"):
            name, value = change.removeprefix("#").split(" = ")
            attribute = ExpressionAttributeNames[f"#{name}"]
            if value.startswith("if_not_exists"):
                after.setdefault(attribute, ExpressionAttributeValues[value.rstrip(")").split(", ")[1]])
            else:
                after[attribute] = ExpressionAttributeValues[value]
        self.items[key] = after
        return {"Attributes": after}

    def delete_item(self, TableName, Key, ConditionExpression="", ExpressionAttributeValues=None):
        item = self.items.get(self._key(Key), {})
        self._check(ConditionExpression, item, {}, ExpressionAttributeValues or {})
        self.items.pop(self._key(Key), None)
        return {}

    def query(self, TableName, KeyConditionExpression, ExpressionAttributeValues, ExclusiveStartKey=None, **more):
        values = {name: value["S"] for name, value in ExpressionAttributeValues.items()}
        if "IndexName" in more:
            return self._timeline(values, forward=more["ScanIndexForward"], filtered="FilterExpression" in more)
        pk, prefix = values[":pk"], values.get(":prefix", "")
        start = self._key(ExclusiveStartKey) if ExclusiveStartKey else ("", "")
        keys = sorted(key for key in self.items if key[0] == pk and key[1].startswith(prefix) and key > start)
        last = {"LastEvaluatedKey": {"pk": {"S": keys[0][0]}, "sk": {"S": keys[0][1]}}} if keys else {}
        return {"Items": [self.items[key] for key in keys[:1]], **last}

    def _timeline(self, values, *, forward, filtered):
        assert values[":since"] <= values[":until"], "DynamoDB refuses this BETWEEN"
        indexed = [item for item in self.items.values() if item.get("month", {}).get("S") == values[":month"]]
        between = [item for item in indexed if values[":since"] <= item["at"]["S"] <= values[":until"]]
        found = [item for item in between if not filtered or {"S": values[":word"]} in item["words"]["L"]]
        return {"Items": sorted(found, key=lambda item: item["at"]["S"], reverse=not forward)}

    def _key(self, item):
        return item["pk"]["S"], item["sk"]["S"]

    def _check(self, condition, item, names, values):
        for alternative in condition.split(" OR "):
            missing = re.fullmatch(r"attribute_not_exists\(#?(\w+)\)", alternative)
            compared = re.fullmatch(r"#?(\w+) (<?=) (:\w+)", alternative)
            if not condition or (missing and names.get(f"#{missing[1]}", missing[1]) not in item):
                return
            fewer = re.fullmatch(r"size\((#\w+)\) < (:\w+)", alternative)
            if fewer and len(deserialize(item[names[fewer[1]]])) < deserialize(values[fewer[2]]):
                return
            within = re.fullmatch(r"contains\((#\w+), (:\w+)\)", alternative)
            if within and deserialize(values[within[2]]) in deserialize(item[names[within[1]]]):
                return
            if compared and names.get(f"#{compared[1]}", compared[1]) in item:
                one, other = deserialize(item[compared[1]]), deserialize(values[compared[3]])
                if one == other or (compared[2] == "<=" and one < other):
                    return
        raise ClientError(
            {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "Item": item}, "UpdateItem"
        )
