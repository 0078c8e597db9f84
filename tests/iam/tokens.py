"""Prints tests/iam/tokens.json: tokens of RDS IAM authentication as botocore makes them.

To make it anew, with botocore installed (`pip install botocore`): python3 tests/iam/tokens.py > tests/iam/tokens.json
"""

import datetime
import json
from unittest import mock

import botocore.session

KEY = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
# As long as those of a function's role, with every character that base64 has.
SESSION = "IQoJb3JpZ2luX2VjEJ///+++" + "Abc/9+zZ0" * 120 + "=="

SHOP = "shop.abc123.eu-central-1.rds.amazonaws.com"
CHINA = "shop.abc123.cn-north-1.rds.amazonaws.com.cn"
PROXY = "pool.proxy-abc123.us-gov-west-1.rds.amazonaws.com"

CASES = [
    # host, port, user, region, session token, time
    (SHOP, 5432, "exporter", "eu-central-1", None, 1790000000),
    (SHOP, 5432, "exporter", "eu-central-1", SESSION, 1790000000),
    (SHOP, 6432, "exporter", "eu-central-1", SESSION, 1790000001),
    (CHINA, 5432, "exporter", "cn-north-1", SESSION, 1709164799),
    (PROXY, 1150, "exporter", "us-gov-west-1", None, 1735689599),
    (SHOP, 443, "exporter", "eu-central-1", None, 0),
    ("Shop.ABC123.eu-central-1.RDS.amazonaws.com", 5432, "Exporter", "eu-central-1", None, 1790000000),
    (SHOP, 5432, "first.last@example.com", "eu-central-1", SESSION, 1790000000),
    (SHOP, 5432, "a b+c", "eu-central-1", None, 1790000000),
    (SHOP, 5432, "50%/day?x=1&y=2#z", "eu-central-1", SESSION, 1790000000),
    (SHOP, 5432, "-._~!*'()[]{}\"\\|^`$,;:<>", "eu-central-1", None, 1790000000),
    (SHOP, 5432, "bücher_лес_図_😀", "eu-central-1", SESSION, 1790000000),
    (SHOP, 5432, "%41%2f", "eu-central-1", None, 1790000000),
]


def token(host, port, user, region, session_token, time):
    session = botocore.session.Session()
    session.set_credentials(*KEY, session_token)
    now = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).replace(tzinfo=None)
    client = session.create_client("rds", region_name=region)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        return client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)


cases = [
    {
        "host": host,
        "port": port,
        "user": user,
        "region": region,
        "access_key_id": KEY[0],
        "secret_access_key": KEY[1],
        "session_token": session_token,
        "time": time,
        "token": token(host, port, user, region, session_token, time),
    }
    for host, port, user, region, session_token, time in CASES
]
print(json.dumps(cases, indent=1, ensure_ascii=False))
