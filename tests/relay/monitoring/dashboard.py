# The dashboard as Grafana's own schema reads it: what the schema does not know would be lost on the way through it.
import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()
with open(sys.argv[1]) as file:
    written = json.load(file)
read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))


def differences(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{path}/{key}: not of the schema"
            else:
                yield from differences(value, theirs[key], f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{path}/{at}")
    elif ours != theirs:
        yield f"{path}: {ours!r} is read as {theirs!r}"


found = list(differences(written, read, ""))
print("\n".join(found))
sys.exit(1 if found else 0)
