"""The small validator agrees with a full one, on what fits and on what does not."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import jsonschema

from edge_app.delivery.check import problems, unknown_keywords
from edge_app.delivery.event import schema

JUNK: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**400, 1e300, "", "x", "\n", "x" * 300, [], {}, [1]),
    *({"id": 1}, {"decision": "named"}, {"decision": "named", "person_ref": "a b"}, "named", "active", 2**63),
]


def mutated(rng: random.Random, value: Any) -> Any:
    """Return a copy of an example with something of it changed, added or removed, at any depth."""
    result = copy.deepcopy(value)
    holder = result
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
            holder = inner
            continue
        break
    act = rng.random()
    if act < 0.6:
        holder[key] = rng.choice(JUNK)
    elif act < 0.8 and isinstance(holder, dict):
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(["extra", "person_ref", "alarm", "previous", "wall_ms"])] = rng.choice(JUNK)
    return result


def test_agrees_with_a_full_validator_on_mutated_events() -> None:
    """On 3,000 broken copies of the examples both say the same, and both verdicts occur."""
    document = json.loads(json.dumps(dict(schema())))
    full = jsonschema.Draft202012Validator(document)
    rng = random.Random(5)
    verdicts = []
    for number in range(3000):
        value = mutated(rng, document["examples"][number % len(document["examples"])])
        ours = next(problems(value, document, root=document), None) is None
        assert full.is_valid(value) == ours, value
        verdicts.append(ours)
    assert 100 < sum(verdicts) < 2900


def test_keyword_that_is_not_understood_is_found_at_any_depth() -> None:
    """A schema that this module would check only in part is noticed."""
    nested = {"properties": {"a": {"items": {"allOf": [{"then": {"uniqueItems": True}}]}}}}
    assert {"uniqueItems"} == unknown_keywords(nested)
    assert set() == unknown_keywords(dict(schema()))
